package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// roles are what this binary does as a process of its own.
var roles = map[string]func(ctx context.Context, args []string) error{
	"role-serve": serve,
	"role-send":  send,
	"role-add":   addErrors,
}

// process is a contestant that has ended.
type process struct {
	cpu  time.Duration // user and system
	wall time.Duration
	rss  int64 // greatest resident size, bytes
	out  []byte
}

// runProcess runs a command to its end.
func runProcess(ctx context.Context, stdin []byte, name string, args ...string) (process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errs, bytes.NewReader(stdin)
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return process{}, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.Bytes(), errs.Bytes())
	}
	s := cmd.ProcessState
	return process{cpu: s.UserTime() + s.SystemTime(), wall: time.Since(began), rss: maxRSS(s), out: out.Bytes()}, nil
}

// server is a server in a process of its own. Commands go to its standard input,
// one a line, and each is answered by one line.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	url string
}

// startServer starts a server; faults are in the JSON of faulttest.Fault.
func (b *bench) startServer(ctx context.Context, faults any) (*server, error) {
	arg, err := json.Marshal(faults)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.self, "role-serve", string(arg))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	if s.url, err = s.line(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) line() (string, error) {
	line, err := s.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// ask sends a command and decodes the answer.
func (s *server) ask(command string, answer any) error {
	if _, err := io.WriteString(s.in, command+"\n"); err != nil {
		return err
	}
	line, err := s.line()
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(line), answer)
}

// stop ends the server by closing its input.
func (s *server) stop() error {
	_ = s.in.Close() // the server's own end says whether it worked
	return s.cmd.Wait()
}
