// Package fakeaws is a small AWS for tests: the calls that rehearse makes, over
// HTTP, with state that moves with time. It answers in the wire formats of the
// services (EKS: REST and JSON; service quotas: JSON 1.1; EC2, auto scaling,
// balancers, IAM and STS: the query protocol and XML; S3: REST and XML), in
// pages, with AWS's error codes where a test plants them. It is told which
// service is meant by the signature's credential scope, as AWS is.
//
// Time is time.Now, so that in a testing/synctest bubble it is the bubble's;
// [AWS.Do] answers without a network, which a bubble cannot wait for.
package fakeaws

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
)

// Credentials that the fake's configuration signs with. Tests look for them
// where they must not be.
const (
	AccessKey    = "AKIAPLANTEDPLANTED00"
	SecretKey    = "planted/secret/key/never/to/be/seen/0001"
	SessionToken = "planted-session-token-never-to-be-seen-0002"
)

// Fault makes calls fail. Times counts down; negative is for ever.
type Fault struct {
	Status        int
	Code, Message string
	Times         int
}

// AWS is one account in one region. Fields may be changed between calls; use
// With while calls are under way.
type AWS struct {
	mu     sync.Mutex
	faults map[string]*Fault
	calls  []string

	Region   string
	PageSize int // of every list
	EKS      EKS
	EC2      EC2
	S3       map[string]*Bucket
	Quotas   map[string]float64 // by service/quota code
	Denied   []string           // actions that the policy simulation denies
	Account  string
	Caller   string // ARN
}

// New returns an empty account in eu-west-1 with pages of two.
func New() *AWS {
	return &AWS{
		Region: "eu-west-1", PageSize: 2, faults: map[string]*Fault{}, S3: map[string]*Bucket{}, Quotas: map[string]float64{},
		Account: "000000000000", Caller: "arn:aws:iam::000000000000:user/rehearse",
		EKS: EKS{Clusters: map[string]*Cluster{}, updates: map[string]*update{}, AddonDefaults: map[string]string{}},
	}
}

// With calls f while no call is answered.
func (a *AWS) With(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// Fail plants a fault at an operation, named "service:Operation".
func (a *AWS) Fail(operation string, f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.Status == 0 {
		f.Status = http.StatusBadRequest
	}
	a.faults[operation] = &f
}

// Calls are the operations that were called, in order.
func (a *AWS) Calls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// Config is a configuration of the SDK whose calls are answered in this process.
func (a *AWS) Config() awssdk.Config {
	return awssdk.Config{
		Region: a.Region, BaseEndpoint: new("https://fake.invalid"), HTTPClient: a, RetryMaxAttempts: 3,
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
			return awssdk.Credentials{AccessKeyID: AccessKey, SecretAccessKey: SecretKey, SessionToken: SessionToken}, nil
		}),
	}
}

// Do implements the SDK's HTTP client.
func (a *AWS) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

var scope = regexp.MustCompile(`Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request`)

// ServeHTTP implements http.Handler.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &call{a: a, w: w, r: r, body: body, region: m[2], service: m[3]}
	switch c.service {
	case "eks":
		c.eks()
	case "servicequotas":
		c.quotas()
	case "s3":
		c.s3()
	case "ec2", "autoscaling", "elasticloadbalancing", "iam", "sts":
		c.query()
	default:
		c.fail(http.StatusNotImplemented, "UnknownService", "fakeaws knows no service "+c.service)
	}
}

// call is one call under way. The account is locked.
type call struct {
	a       *AWS
	w       http.ResponseWriter
	r       *http.Request
	body    []byte
	region  string // for which it was signed
	service string
}

// begin notes the call and answers with a planted fault, where there is one.
func (c *call) begin(operation string) bool {
	name := c.service + ":" + operation
	c.a.calls = append(c.a.calls, name)
	f := c.a.faults[name]
	if f == nil {
		f = c.a.faults[c.service+":*"]
	}
	if f == nil || f.Times == 0 {
		return true
	}
	f.Times--
	c.fail(f.Status, f.Code, f.Message)
	return false
}

// page cuts a list of n: the bounds of the page that the token names, and the
// next token.
func (c *call) page(n int, token string) (from, to int, next string) {
	from, _ = strconv.Atoi(token)
	from = min(max(from, 0), n)
	to = min(from+c.a.PageSize, n)
	if to < n {
		next = strconv.Itoa(to)
	}
	return from, to, next
}

// after tells whether d has passed since t.
func after(t time.Time, d time.Duration) bool { return !time.Now().Before(t.Add(d)) }

func unknown(operation string) string { return fmt.Sprintf("fakeaws does not know %s", operation) }

func split(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }
