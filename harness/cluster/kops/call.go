package kops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/secret"
)

// call is one run of kops. Output goes to the step's log besides.
type call struct {
	args           []string
	stdout, stderr io.Writer
}

// run runs kops with the timeout. kops repeats throttled calls silently and for
// ever, so without a timeout nothing would end it.
func (d *Driver) run(ctx context.Context, timeout time.Duration, c call) error {
	kubeconfig, err := d.private("kubeconfig")
	if err != nil {
		return err
	}
	log := cluster.Output(ctx)
	fmt.Fprintf(log, "$ %s\n", command.Quote(c.args))
	inner, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("kops did not end within %s and was killed; it repeats what AWS throttles without saying so", timeout))
	defer cancel()
	cmd := command.Cmd{
		Args: c.args,
		// Whatever kops reads or writes as a kubeconfig must not be the operator's own.
		Env:    append(os.Environ(), "KUBECONFIG="+kubeconfig),
		Stdout: tee(log, c.stdout), Stderr: tee(log, c.stderr),
		Secrets: secret.Values(nil, os.Environ()),
	}
	return explain(d.o.Run(inner, cmd))
}

func tee(log, w io.Writer) io.Writer {
	if w == nil {
		return log
	}
	return io.MultiWriter(log, w)
}

// explained is a failure of kops whose cause and remedy are known.
type explained struct {
	cause, remedy string
	err           error
}

func (e *explained) Error() string { return e.cause + "; " + e.remedy + "\n" + e.err.Error() }
func (e *explained) Unwrap() error { return e.err }

// known are the ways in which kops was seen to fail before it did anything. The
// first that matches counts. Codes are AWS's.
var known = []struct {
	pattern       *regexp.Regexp
	cause, remedy string
}{
	{regexp.MustCompile(`ExpiredToken|RequestExpired|token.{0,30}expired`), "the AWS credentials have expired", "renew them (aws sso login, or a new session token); a rehearsal needs them for its whole length"},
	{regexp.MustCompile(`NoCredentialProviders|no EC2 IMDS role found|failed to refresh cached credentials|get credentials`), "no AWS credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"},
	{regexp.MustCompile(`InvalidClientTokenId|InvalidAccessKeyId|SignatureDoesNotMatch|AuthFailure|UnrecognizedClient`), "AWS does not accept the credentials", "check the access key and the account it belongs to, and this machine's clock"},
	{regexp.MustCompile(`NoSuchBucket|Could not retrieve location for AWS bucket`), "the bucket of the state store does not exist", "create it (aws s3api create-bucket), turn on versioning, or correct cluster.kops.stateStore"},
	{regexp.MustCompile(`PermanentRedirect|AuthorizationHeaderMalformed|BucketRegionError`), "the bucket of the state store is in another region", "set S3_REGION or AWS_REGION to the region in which it was made"},
	{regexp.MustCompile(`UnauthorizedOperation|AccessDenied|not authorized to perform`), "the credentials lack a permission", "grant the action that the message names; docs/guides/kops.md lists the policies"},
	{regexp.MustCompile(`RequestLimitExceeded|Throttling|SlowDown`), "AWS throttles the account", "wait and start again, or ask for a higher request rate"},
	{regexp.MustCompile(`OptInRequired|region .* (not|is) .*(valid|enabled)`), "the region is not enabled for the account", "check the zones of the scenario"},
}

func explain(err error) error {
	var failure *command.Error
	if err == nil || !errors.As(err, &failure) {
		return err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return &explained{"kops was not found at " + failure.Args[0], "install it (https://kops.sigs.k8s.io/getting_started/install/) or name it in cluster.kops.path", err}
	}
	for _, k := range known {
		if k.pattern.MatchString(failure.Output) {
			return &explained{k.cause, k.remedy, err}
		}
	}
	return err
}

var notFound = regexp.MustCompile(`(?i)cluster not found "|clusters?(\.kops\.k8s\.io)? "[^"]*" not found|no clusters found`)

// isNotFound tells whether kops said that its state store has no such cluster,
// or none at all.
func isNotFound(err error) bool {
	var failure *command.Error
	return errors.As(err, &failure) && notFound.MatchString(failure.Output)
}

// lines hands whole lines of several streams to one function, one at a time. A
// stream's last line may lack its newline: close hands it on.
type lines struct {
	mu   sync.Mutex
	line func(string)
}

type stream struct {
	to   *lines
	rest []byte
}

// maxLine bounds what is kept of a line whose end does not come.
const maxLine = 1 << 20

func (s *stream) Write(p []byte) (int, error) {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		i := bytes.IndexByte(s.rest, '\n')
		if i < 0 && len(s.rest) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(s.rest) - 1
		}
		s.to.line(string(s.rest[:i]))
		s.rest = s.rest[i+1:]
	}
}

func (s *stream) close() {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if strings.TrimSpace(string(s.rest)) != "" {
		s.to.line(string(s.rest))
	}
	s.rest = nil
}
