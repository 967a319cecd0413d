//go:build !linux

package main

import "os"

// maxRSS is not known here: systems count in different units.
func maxRSS(*os.ProcessState) int64 { return 0 }
