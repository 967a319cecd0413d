package nodeimage

import (
	"os"
	"os/exec"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

const (
	remedyRoot        = "run it as root, for example with sudo -E, or pull the images instead"
	remedyDebootstrap = "apt-get install debootstrap, or pull the images instead"
	remedyGo          = "install Go as https://go.dev/doc/install says, or pull the images instead"
)

// ToolChecks says whether this machine can build images from source. None of
// it is needed where images can be pulled, or exist.
func ToolChecks() []docker.Check {
	root := docker.Check{Name: "build from source: root", OK: os.Geteuid() == 0, Detail: "debootstrap needs it"}
	if !root.OK {
		root.Remedy = remedyRoot
	}
	return []docker.Check{
		tool("build from source: Go", "go", remedyGo),
		tool("build from source: debootstrap", "debootstrap", remedyDebootstrap),
		root,
	}
}

func tool(name, program, remedy string) docker.Check {
	path, err := exec.LookPath(program)
	if err != nil {
		return docker.Check{Name: name, Detail: program + " is not on PATH", Remedy: remedy}
	}
	return docker.Check{Name: name, OK: true, Detail: path}
}
