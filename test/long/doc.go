// Package long holds rehearsals of eight hours against what they may take: the
// memory to record them, the size of their record, the time to judge it, the size
// of its report. They are recorded without waiting: second by second as the load
// engine, the probes and the timeline would write them.
package long
