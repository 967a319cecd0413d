// Command rehearse rehearses a Kubernetes upgrade before production does it.
package main

import (
	"os"

	"github.com/kube-rehearse/rehearse/cmd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
