package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// Error is a call to AWS that was not answered with a result: what was asked,
// why it failed in words, and what to do. It never carries a request or its
// headers.
type Error struct {
	Asked  string // e.g. "eks:DescribeCluster payments"
	Code   string // AWS's error code; empty where AWS was not reached
	Cause  string
	Remedy string
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s; %s", e.Asked, e.Cause, e.Remedy) }

// Unwrap returns the SDK's error.
func (e *Error) Unwrap() error { return e.Err }

type class struct{ cause, remedy string }

var (
	expired   = class{"the credentials have expired", "renew them (aws sso login, or a new session token) and start again: a rehearsal needs them for its whole length"}
	rejected  = class{"AWS does not accept the credentials", "check the access key and the account it belongs to, and this machine's clock"}
	forbidden = class{"the credentials have no permission for it", "grant the action named to the role, or use another one"}
	throttled = class{"AWS throttles the account", "wait and start again, or ask for a higher request rate; other automation in the account counts too"}
	noRegion  = class{"this region is not enabled for the account", "check the region's name, or enable it in the account's settings"}
)

// classes explain AWS's error codes, as they are common to its services:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html and
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html.
var classes = map[string]class{
	"ExpiredToken": expired, "ExpiredTokenException": expired, "RequestExpired": expired, "TokenRefreshRequired": expired,
	"InvalidClientTokenId": rejected, "UnrecognizedClientException": rejected, "AuthFailure": rejected, "InvalidAccessKeyId": rejected,
	"SignatureDoesNotMatch": rejected, "InvalidSignatureException": rejected, "IncompleteSignature": rejected, "MissingAuthenticationToken": rejected,
	"AccessDenied": forbidden, "AccessDeniedException": forbidden, "UnauthorizedOperation": forbidden, "Client.UnauthorizedOperation": forbidden, "Forbidden": forbidden,
	"Throttling": throttled, "ThrottlingException": throttled, "ThrottledException": throttled, "RequestLimitExceeded": throttled, "TooManyRequestsException": throttled, "SlowDown": throttled, "RequestThrottled": throttled,
	"OptInRequired": noRegion, "PermanentRedirect": {"it is in another region", "give the region in which it was made"},
	"AuthorizationHeaderMalformed": {"it is in another region", "give the region in which it was made"},
}

// Explain wraps an error of the SDK; nil stays nil. Codes that only one service
// has are the caller's business: see Code.
func Explain(asked string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Asked: asked, Code: Code(err), Err: err}
	if c, ok := classes[e.Code]; ok {
		e.Cause, e.Remedy = c.cause, c.remedy
		if c == forbidden {
			e.Cause += message(err)
		}
		return e
	}
	var lookup *net.DNSError
	text := err.Error()
	switch {
	case e.Code != "":
		e.Cause, e.Remedy = "AWS answers "+e.Code+message(err), "look the code up in the service's API reference"
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", asked, err)
	case strings.Contains(text, "failed to refresh cached credentials") || strings.Contains(text, "get credentials") || strings.Contains(text, "no EC2 IMDS role found"):
		e.Cause, e.Remedy = "no AWS credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	case errors.As(err, &lookup):
		e.Cause, e.Remedy = "the name "+lookup.Name+" is unknown", "check the region: each has addresses of its own; and this machine's network"
	default:
		e.Cause, e.Remedy = "AWS was not reached: "+last(err), "check this machine's network, proxy and clock"
	}
	return e
}

// Code returns AWS's error code, or "" where AWS did not answer.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// message is what AWS says beside the code. A refusal names the principal and
// the action, never a secret; the encoded blob that EC2 may append is cut off.
func message(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorMessage() == "" {
		return ""
	}
	m, _, _ := strings.Cut(api.ErrorMessage(), " Encoded authorization failure message")
	return ": " + strings.TrimSuffix(m, ".")
}

// last returns the innermost error's text: what is outside it repeats the call.
func last(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// Caller asks who the credentials belong to.
type Caller interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// Identity is an account and the principal in it.
type Identity struct{ Account, ARN string }

// WhoAmI is the first call to make: it needs no permission, so its failure means
// that the credentials themselves are wrong.
func WhoAmI(ctx context.Context, c Caller) (Identity, error) {
	out, err := c.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Identity{}, Explain("ask AWS whose credentials these are (sts:GetCallerIdentity)", err)
	}
	return Identity{Account: value(out.Account), ARN: value(out.Arn)}, nil
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
