package aws

import (
	"fmt"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/middleware"
)

// ReadOnly returns a configuration whose clients refuse every operation that
// does not read, before anything of it leaves the process. An operation reads
// where its name begins with Describe, Get, Head or List: AWS names its
// operations so, and an audit log can be searched for anything else.
// Credentials that are taken from a login or by assuming a role do not pass
// through it.
func ReadOnly(cfg awssdk.Config) awssdk.Config {
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(s *middleware.Stack) error {
		if !Reads(s.ID()) {
			return fmt.Errorf("%s was refused: the account is only read", s.ID())
		}
		return nil
	})
	return cfg
}

// Reads tells whether an operation of AWS reads only, by its name.
func Reads(operation string) bool {
	return slices.ContainsFunc([]string{"Describe", "Get", "Head", "List"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
}
