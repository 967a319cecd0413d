package cli

import (
	"os"
	"regexp"
	"strconv"
	"syscall"
)

// loadPriority is the niceness at which a run sends its load: the generator
// must not be the one that waits when an upgrade on the same machine takes the
// processor. It needs little, so it starves nobody.
const loadPriority = -10

// autogroupFile is the scheduler's own weight for the whole session. Where the
// kernel groups sessions (sched(7), "autogroup feature"), a niceness counts only
// among the tasks of one session, and this among sessions.
const autogroupFile = "/proc/self/autogroup"

var autogroupNice = regexp.MustCompile(`nice (-?\d+)`)

// raisePriority gives every thread of this process the priority, which later
// threads inherit, and its session too; restore gives the session its own back.
// Where that is not permitted nothing changes: the validity rules tell when the
// generator was late.
func raisePriority() (restore func()) {
	restore = func() {}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return restore
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			if syscall.Setpriority(syscall.PRIO_PROCESS, tid, loadPriority) != nil {
				return restore
			}
		}
	}
	b, err := os.ReadFile(autogroupFile)
	if err != nil {
		return restore
	}
	if m := autogroupNice.FindSubmatch(b); m != nil {
		if os.WriteFile(autogroupFile, []byte(strconv.Itoa(loadPriority)), 0) == nil {
			before := string(m[1])
			restore = func() { _ = os.WriteFile(autogroupFile, []byte(before), 0) } // best effort, at the end of the process
		}
	}
	return restore
}
