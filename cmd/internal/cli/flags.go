package cli

import (
	"fmt"
	"slices"
	"strings"
)

// oneOf refuses a flag's value that is not among the accepted ones.
func oneOf(flag, got string, accepted ...string) error {
	if slices.Contains(accepted, got) {
		return nil
	}
	return usage(fmt.Errorf("%s %q is unknown; accepted: %s", flag, got, strings.Join(accepted, ", ")))
}
