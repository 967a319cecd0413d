package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Info is what the engine says about itself and its machine.
type Info struct {
	ServerVersion   string
	CgroupVersion   string // "1" or "2"
	CgroupDriver    string
	DefaultRuntime  string
	Driver          string // storage driver
	DockerRootDir   string // on the engine's machine, which need not be this one
	OperatingSystem string
	Architecture    string // as uname prints it: x86_64, aarch64
	NCPU            int
	MemTotal        int64 // bytes
}

// Info asks the engine about itself. An engine that does not answer is an
// error for which [IsUnavailable] is true.
func (c *Client) Info(ctx context.Context) (Info, error) {
	// The client ends with 0 and prints its own half even when no engine
	// answers, so version, which fails in that case, is asked first.
	if err := c.Run(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return Info{}, fmt.Errorf("ask Docker for its version: %w", err)
	}
	out, err := c.Output(ctx, "info", "--format", "{{json .}}")
	if err != nil {
		return Info{}, fmt.Errorf("ask Docker about itself: %w", err)
	}
	var answer struct {
		Info
		ServerErrors []string
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return Info{}, fmt.Errorf("decode the output of docker info: %w", err)
	}
	if len(answer.ServerErrors) > 0 {
		return Info{}, errors.New("ask Docker about itself: " + strings.Join(answer.ServerErrors, "; "))
	}
	if answer.CgroupVersion == "" {
		// Engines older than 20.10 know only version 1 and do not say so.
		answer.CgroupVersion = "1"
	}
	return answer.Info, nil
}
