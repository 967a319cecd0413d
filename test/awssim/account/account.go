// Package account is one AWS account in one region, simulated as far as kops
// looks: resources are those of k8s.io/kops/cloudmock, and what these mocks lack
// is here: instances and groups that reconcile, versions of launch templates,
// targets of balancers that drain, tags with filters, and the answers of the
// catalogues of images, machine types and zones.
//
// Every action runs alone, under one lock, so the mocks' fields can be read. What
// neither the mocks nor this package know is refused and remembered as a gap.
package account

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	v1autoscaling "github.com/aws/aws-sdk-go/service/autoscaling"
	v1ec2 "github.com/aws/aws-sdk-go/service/ec2"
	v1elb "github.com/aws/aws-sdk-go/service/elb"
	v1elbv2 "github.com/aws/aws-sdk-go/service/elbv2"
	v1iam "github.com/aws/aws-sdk-go/service/iam"
	v1sts "github.com/aws/aws-sdk-go/service/sts"
	"k8s.io/kops/cloudmock/aws/mockautoscaling"
	"k8s.io/kops/cloudmock/aws/mockec2"
	"k8s.io/kops/cloudmock/aws/mockelb"
	"k8s.io/kops/cloudmock/aws/mockelbv2"
	"k8s.io/kops/cloudmock/aws/mockeventbridge"
	"k8s.io/kops/cloudmock/aws/mockiam"
	"k8s.io/kops/cloudmock/aws/mocksqs"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

// Region and Number name the account.
const (
	Region = "us-east-1"
	Number = "123456789012"
)

// Zones are those of the region that are offered.
var Zones = []string{"us-east-1a", "us-east-1b", "us-east-1c"}

// Options say how time passes in the account.
type Options struct {
	Boot  time.Duration // from a launch until an instance runs
	Stop  time.Duration // from a termination until it has ended
	Drain time.Duration // from a target's deregistration until it is unused
	Log   *slog.Logger
	// Machines is told of instances; its methods are called without the lock.
	Machines Machines
}

// Machines is what instances do once they run.
type Machines interface {
	// Running is called once an instance runs. The instance is healthy for
	// balancers once it returns nil; an error means that it never will be.
	Running(ctx context.Context, m Machine) error
	// Ended is called once an instance has ended.
	Ended(ctx context.Context, m Machine)
}

// Machine is an instance as its machine sees it.
type Machine struct {
	ID, IP, Zone, Type, UserData string
	Tags                         map[string]string
}

// Account is the simulated account.
type Account struct {
	o Options

	mu        sync.Mutex
	ec2       *ec2API
	groups    *groupsAPI
	balancers *balancersAPI
	classic   *mockelb.MockELB
	iam       *iamAPI
	queues    *queuesAPI
	events    *eventsAPI
	services  map[string]wire.Service

	instances map[string]*instance
	launched  int
	counts    map[string]int
	gaps      map[string]int
	refused   map[string]string // action to error code, planted by a test
}

// New returns an account without resources.
func New(o Options) *Account {
	a := &Account{o: o, instances: map[string]*instance{}, counts: map[string]int{}, gaps: map[string]int{}, refused: map[string]string{}}
	mock := &mockec2.MockEC2{}
	a.ec2 = &ec2API{MockEC2: mock, a: a, templates: map[string]*template{}}
	a.groups = &groupsAPI{MockAutoscaling: &mockautoscaling.MockAutoscaling{}, a: a}
	a.balancers = &balancersAPI{MockELBV2: &mockelbv2.MockELBV2{EC2: mock}, a: a, leaving: map[string]time.Time{}}
	a.classic = &mockelb.MockELB{}
	a.iam = &iamAPI{MockIAM: &mockiam.MockIAM{}}
	a.queues = &queuesAPI{MockSQS: &mocksqs.MockSQS{}}
	a.events = &eventsAPI{MockEventBridge: &mockeventbridge.MockEventBridge{}}
	a.services = map[string]wire.Service{
		"ec2":            {Name: "ec2", Protocol: wire.EC2, Target: a.ec2, Model: reflect.TypeFor[*v1ec2.EC2](), Newer: map[string][]string{"TerminateInstances": {"SkipOsShutdown"}}},
		"autoscaling":    {Name: "autoscaling", Target: a.groups, Model: reflect.TypeFor[*v1autoscaling.AutoScaling]()},
		balancing:        {Name: balancing, Target: a.balancers, Model: reflect.TypeFor[*v1elbv2.ELBV2]()},
		balancing + "/1": {Name: balancing, Target: a.classic, Model: reflect.TypeFor[*v1elb.ELB]()},
		"iam":            {Name: "iam", Target: a.iam, Model: reflect.TypeFor[*v1iam.IAM]()},
		"sts":            {Name: "sts", Target: identity{}, Model: reflect.TypeFor[*v1sts.STS]()},
		"sqs":            {Name: "sqs", Protocol: wire.JSON, Target: a.queues},
		"events":         {Name: "events", Protocol: wire.JSON, Target: a.events},
	}
	return a
}

const balancing = "elasticloadbalancing"

// scope is the service that a request is signed for.
var scope = regexp.MustCompile(`Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request`)

// Scope names the service that a request is signed for; "" where it is not signed.
func Scope(r *http.Request) string {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return ""
	}
	return m[1]
}

// ServeHTTP answers a request of any service but S3.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<22))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if r.Header.Get("X-Amz-Target") == "" {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := Scope(r)
	s, known := a.services[name]
	if name == balancing && r.PostFormValue("Version") == "2012-06-01" {
		s = a.services[balancing+"/1"]
	}
	action := name + " " + s.Action(r)
	a.counts[action]++
	if !known {
		a.gap(action)
		http.Error(w, "no such service: "+name, http.StatusNotImplemented)
		return
	}
	if code := a.refused[action]; code != "" {
		s.Target = refusal(code)
	}
	if err := s.Serve(w, r, body); err != nil {
		if g, ok := err.(*wire.Gap); ok {
			a.gap(g.What)
		}
		a.o.Log.Info("refused", "action", action, "error", err)
	}
	a.reconcile()
}

func (a *Account) gap(what string) {
	a.gaps[what]++
	a.o.Log.Error("gap", "what", what)
}

// refusal answers every action with one error.
type refusal string

func (r refusal) TerminateInstances(context.Context, *struct{}, ...any) (*struct{}, error) {
	return nil, wire.Fail(string(r), "You are not authorized to perform this operation.")
}

// Refuse makes an action, such as "ec2 TerminateInstances", fail with a code from
// now on; an empty code ends that.
func (a *Account) Refuse(action, code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[action] = code
}

// Counts tells how often each action was called.
func (a *Account) Counts() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return copyMap(a.counts)
}

// Gaps are what was asked for and is not simulated, with how often.
func (a *Account) Gaps() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return copyMap(a.gaps)
}

func copyMap(m map[string]int) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// Resources lists everything that exists in the account, sorted.
func (a *Account) Resources() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	add := func(kind, name string) { all = append(all, kind+" "+name) }
	for id := range a.ec2.All() {
		add("ec2", id)
	}
	for _, t := range a.ec2.templates {
		add("launch-template", t.name)
	}
	for _, i := range a.instances {
		if i.state != ended {
			add("instance", i.id)
		}
	}
	for name := range a.groups.Groups {
		add("auto-scaling-group", name)
	}
	for arn := range a.balancers.LoadBalancers {
		add("balancer", arn)
	}
	for arn := range a.balancers.TargetGroups {
		add("target-group", arn)
	}
	for arn := range a.balancers.Listeners {
		add("listener", arn)
	}
	for name := range a.classic.LoadBalancers {
		add("classic-balancer", name)
	}
	for name := range a.iam.Roles {
		add("iam-role", name)
	}
	for name := range a.iam.InstanceProfiles {
		add("instance-profile", name)
	}
	for _, p := range a.iam.RolePolicies {
		add("role-policy", p.RoleName+"/"+p.PolicyName)
	}
	for name := range a.queues.Queues {
		add("queue", name)
	}
	for name := range a.events.Rules {
		add("rule", name)
	}
	sort.Strings(all)
	return all
}

// Run reconciles groups and instances until the context ends.
func (a *Account) Run(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.mu.Lock()
			started, stopped := a.step(time.Now())
			a.mu.Unlock()
			for _, m := range started {
				go a.boot(ctx, m)
			}
			for _, m := range stopped {
				go a.o.Machines.Ended(ctx, m)
			}
		}
	}
}

func (a *Account) boot(ctx context.Context, m Machine) {
	if err := a.o.Machines.Running(ctx, m); err != nil {
		a.o.Log.Error("an instance did not become a node", "instance", m.ID, "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.instances[m.ID]; i != nil {
		i.healthy = true
	}
}

// Serving tells whether a balancer of this name passes connections to a port on:
// whether it exists, has a listener there, and any healthy target.
func (a *Account) Serving(host string, port int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, lb := range a.balancers.all() {
		if !strings.EqualFold(*lb.DNSName, host) {
			continue
		}
		for _, group := range a.balancers.behind(*lb.LoadBalancerArn, port) {
			for id, i := range a.instances {
				if slices.Contains(a.targetGroups(i), group) && a.health(group, id) == healthy {
					return true
				}
			}
		}
	}
	return false
}

// HasBalancer tells whether a balancer of this name exists.
func (a *Account) HasBalancer(host string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.balancers.all(), func(lb balancer) bool { return strings.EqualFold(*lb.DNSName, host) })
}

// arn names a resource of the account.
func arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, Region, Number, resource)
}
