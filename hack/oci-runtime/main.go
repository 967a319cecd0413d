// Command oci-runtime is runc for machines that lack capabilities; see package
// ociruntime. hack/docker-up.sh makes it Docker's default runtime there.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/kube-rehearse/rehearse/harness/docker/ociruntime"
)

func main() {
	err := run(os.Args[1:])
	fmt.Fprintln(os.Stderr, "oci-runtime:", err)
	os.Exit(1)
}

// run becomes runc, and returns only when it cannot.
func run(args []string) error {
	have, err := ociruntime.Bounding("/proc/self/status")
	if err != nil {
		return err
	}
	if err := ociruntime.Rewrite(args, have); err != nil {
		return err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("find runc: %w", err)
	}
	return syscall.Exec(runc, append([]string{runc}, args...), os.Environ())
}
