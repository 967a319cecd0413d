// Command docker-check ends with 0 when Docker answers and can start
// privileged containers, and otherwise prints why not. It is what
// hack/docker-up.sh decides by.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

func main() {
	ok := true
	for _, check := range docker.HostChecks(context.Background(), docker.Checks{Client: &docker.Client{}}) {
		if check.Needed && !check.OK {
			fmt.Fprintf(os.Stderr, "%s: %s\n", check.Name, check.Detail)
			ok = false
		}
	}
	if !ok {
		os.Exit(1)
	}
}
