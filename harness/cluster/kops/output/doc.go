// Package output reads what the kops command prints: the JSON of validate, the
// tables of rolling-update and delete, and, line by line, the log of a rolling
// update, which it turns into events of the timeline.
//
// kops promises nothing about its log. The forms known here are those of its
// source (pkg/instancegroups, upup/pkg/fi/cloudup/awsup and kubectl's drain
// library) and of the logs of real runs of 1.35 in testdata. A line of another
// form is never an error: it is returned as not known, so that it can be kept.
//
// The package is pure: it starts nothing and asks nobody.
package output
