package cli

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// hostFacts describes the machine that sends the load. What the kernel does
// not tell is left empty.
func hostFacts() record.Host {
	h := record.Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				h.MemoryBytes = kib << 10
			}
		}
	}
	return h
}
