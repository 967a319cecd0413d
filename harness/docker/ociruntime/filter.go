// Package ociruntime lets Docker start privileged containers on a machine that
// lacks some capabilities, as many sandboxes and CI machines do.
//
// It is the whole of the program hack/oci-runtime, which stands between Docker
// and runc. Docker asks runc for every capability there is when a container is
// privileged, and runc refuses to start a process with one that it cannot give.
// [Rewrite] takes out of the container's configuration what this machine cannot
// give, and nothing else, before runc reads it. On a machine that lacks nothing
// the configuration is not touched.
package ociruntime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// capabilityNames are Linux's capabilities by number: capabilities(7).
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// Set is a set of capabilities, a bit for each by its number.
type Set uint64

// Has reports whether the set holds the capability of that name. No set holds
// a name that is not known.
func (s Set) Has(name string) bool {
	i := slices.Index(capabilityNames, name)
	return i >= 0 && s&(1<<i) != 0
}

// Bounding reads the bounding set of a process off its status file,
// /proc/self/status: what it and its children can ever have.
func Bounding(status string) (Set, error) {
	b, err := os.ReadFile(status)
	if err != nil {
		return 0, fmt.Errorf("read the capabilities of this machine: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("read CapBnd of %s: %w", status, err)
			}
			return Set(set), nil
		}
	}
	return 0, fmt.Errorf("%s has no line CapBnd", status)
}

// Rewrite changes the file that an invocation of runc with these arguments
// would read: the bundle's config.json for create, run and restore, the process
// file for exec. Other invocations read none.
func Rewrite(args []string, have Set) error {
	for i, arg := range args {
		rest := args[i+1:]
		switch arg {
		case "create", "run", "restore":
			bundle, ok := flagValue(rest, "--bundle", "-b")
			if !ok {
				bundle = "." // as runc does
			}
			return rewrite(filepath.Join(bundle, "config.json"), have, func(doc map[string]any) map[string]any {
				process, _ := doc["process"].(map[string]any)
				return process
			})
		case "exec":
			file, ok := flagValue(rest, "--process", "-p")
			if !ok {
				return nil
			}
			return rewrite(file, have, func(doc map[string]any) map[string]any { return doc })
		}
	}
	return nil
}

// flagValue finds a flag in both of its forms, "--flag value" and
// "--flag=value".
func flagValue(args []string, names ...string) (string, bool) {
	for i, arg := range args {
		for _, name := range names {
			if arg == name && i+1 < len(args) {
				return args[i+1], true
			}
			if value, ok := strings.CutPrefix(arg, name+"="); ok {
				return value, true
			}
		}
	}
	return "", false
}

func rewrite(path string, have Set, process func(doc map[string]any) map[string]any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the container's configuration: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber() // or large numbers would come back changed
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	p := process(doc)
	if p == nil || !filter(p, have) {
		return nil
	}
	if b, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("write the container's configuration: %w", err)
	}
	// Renamed into place, so that runc never reads half a file.
	if err := os.WriteFile(path+".new", b, info.Mode().Perm()); err != nil {
		return fmt.Errorf("write the container's configuration: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the container's configuration: %w", err)
	}
	return nil
}

// filter takes out of an OCI process what a machine with these capabilities
// cannot give, and reports whether there was any of it.
func filter(process map[string]any, have Set) (changed bool) {
	if sets, ok := process["capabilities"].(map[string]any); ok {
		for name, value := range sets {
			list, ok := value.([]any)
			if !ok {
				continue
			}
			kept := slices.DeleteFunc(slices.Clone(list), func(c any) bool { return !have.Has(fmt.Sprint(c)) })
			if len(kept) != len(list) {
				sets[name], changed = kept, true
			}
		}
	}
	if have.Has("CAP_SYS_RESOURCE") {
		return changed
	}
	// Without it no limit can be raised, and no process be shielded from the
	// kernel's killer.
	if limits, ok := process["rlimits"].([]any); ok && len(limits) > 0 {
		delete(process, "rlimits")
		changed = true
	}
	if n, ok := process["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(n.String(), "-") {
		process["oomScoreAdj"] = 0
		changed = true
	}
	return changed
}
