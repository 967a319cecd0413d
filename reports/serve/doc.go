// Package serve shows the runs of a directory to a browser: their list, their
// figures over time, the report of one, and any two side by side.
//
// It only reads, and answers only GET and HEAD. The list and the history are made
// of run.json and verdict.json alone, so that hundreds of runs are shown at once;
// a report and a comparison are made of the whole record, judged anew, and say
// where verdict.json says something else (docs/decisions/0145). What cannot be
// read is shown as a run with the reason.
package serve
