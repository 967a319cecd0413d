package cli

import (
	"os"
	"strconv"
	"syscall"
)

// loadPriority is the niceness at which a run sends its load: the generator
// must not be the one that waits when an upgrade on the same machine takes the
// processor. It needs little, so it starves nobody.
const loadPriority = -10

// raisePriority gives every thread of this process the priority, and later
// threads inherit it. Where that is not permitted nothing changes: the validity
// rules tell when the generator was late.
func raisePriority() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			if syscall.Setpriority(syscall.PRIO_PROCESS, tid, loadPriority) != nil {
				return
			}
		}
	}
}
