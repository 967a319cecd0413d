package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	v1autoscaling "github.com/aws/aws-sdk-go/service/autoscaling"
	v1ec2 "github.com/aws/aws-sdk-go/service/ec2"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

// serve answers the real client of a service, and keeps the last error.
func serve(t *testing.T, s Service) (url string, last func() error) {
	t.Helper()
	var err error
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if s.Protocol != JSON {
			_ = r.ParseForm()
		}
		err = s.Serve(w, r, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() error { return err }
}

var credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "x"}, nil
})

type machines struct{ in *ec2.DescribeInstancesInput }

var launched = time.Date(2026, 11, 22, 5, 4, 3, 0, time.UTC)

func (m *machines) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	m.in = in
	return &ec2.DescribeInstancesOutput{Reservations: []types.Reservation{{Instances: []types.Instance{{
		InstanceId: aws.String("i-1"), LaunchTime: &launched, State: &types.InstanceState{Name: types.InstanceStateNameRunning, Code: aws.Int32(16)},
		Tags: []types.Tag{{Key: aws.String("a<b"), Value: aws.String("c&d")}},
	}}}}}, nil
}

func (m *machines) TerminateInstances(context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	return nil, Fail("UnauthorizedOperation", "You are not authorized.")
}

func (m *machines) RebootInstances(context.Context, *ec2.RebootInstancesInput, ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	panic("Not implemented")
}

func TestEC2(t *testing.T) {
	target := &machines{}
	url, last := serve(t, Service{Name: "ec2", Protocol: EC2, Target: target, Model: reflect.TypeFor[*v1ec2.EC2]()})
	client := ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials, RetryMaxAttempts: 1})
	in := &ec2.DescribeInstancesInput{InstanceIds: []string{"i-1", "i-2"}, Filters: []types.Filter{{Name: aws.String("tag:x"), Values: []string{"y", "z"}}}, MaxResults: aws.Int32(7)}
	out, err := client.DescribeInstances(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(target.in, in) {
		t.Errorf("received %+v", target.in)
	}
	i := out.Reservations[0].Instances[0]
	if *i.InstanceId != "i-1" || !i.LaunchTime.Equal(launched) || i.State.Name != types.InstanceStateNameRunning || *i.State.Code != 16 || *i.Tags[0].Key != "a<b" || *i.Tags[0].Value != "c&d" {
		t.Errorf("answered %+v", i)
	}
	_, err = client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{"i-1"}})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnauthorizedOperation" || api.ErrorMessage() != "You are not authorized." {
		t.Errorf("refused with %v", err)
	}
	// What the target does not have, has only as an interface's, or has no such
	// parameter of, is a gap.
	_, errNone := client.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{"i-1"}})
	none := last()
	_, errPanic := client.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: []string{"i-1"}})
	panicked := last()
	_, errNewer := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{"i-1"}, SkipOsShutdown: aws.Bool(true)})
	newer := last()
	for _, x := range []struct {
		told, kept error
		want       string
	}{
		{errNone, none, "not simulated: ec2 StartInstances"},
		{errPanic, panicked, "not simulated: ec2 RebootInstances: Not implemented"},
		{errNewer, newer, "not simulated: ec2 TerminateInstances with SkipOsShutdown"},
	} {
		var gap *Gap
		if !errors.As(x.kept, &gap) || gap.Error() != x.want || !errors.As(x.told, &api) || api.ErrorCode() != "UnsupportedOperation" {
			t.Errorf("kept %v, told %v; want %s", x.kept, x.told, x.want)
		}
	}
}

type groups struct {
	in *autoscaling.CreateOrUpdateTagsInput
}

func (g *groups) CreateOrUpdateTags(_ context.Context, in *autoscaling.CreateOrUpdateTagsInput, _ ...func(*autoscaling.Options)) (*autoscaling.CreateOrUpdateTagsOutput, error) {
	g.in = in
	return &autoscaling.CreateOrUpdateTagsOutput{}, nil
}

func (g *groups) DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	return &autoscaling.DescribeAutoScalingGroupsOutput{AutoScalingGroups: []astypes.AutoScalingGroup{{AutoScalingGroupName: aws.String("g"), MinSize: aws.Int32(0), TargetGroupARNs: []string{"a", "b"}}}}, nil
}

func TestQuery(t *testing.T) {
	target := &groups{}
	url, _ := serve(t, Service{Name: "autoscaling", Target: target, Model: reflect.TypeFor[*v1autoscaling.AutoScaling]()})
	client := autoscaling.New(autoscaling.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials, RetryMaxAttempts: 1})
	in := &autoscaling.CreateOrUpdateTagsInput{Tags: []astypes.Tag{{Key: aws.String("k"), Value: aws.String(""), ResourceId: aws.String("g"), PropagateAtLaunch: aws.Bool(true)}}}
	if _, err := client.CreateOrUpdateTags(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(target.in, in) {
		t.Errorf("received %+v", target.in.Tags)
	}
	out, err := client.DescribeAutoScalingGroups(t.Context(), &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if g := out.AutoScalingGroups[0]; *g.AutoScalingGroupName != "g" || *g.MinSize != 0 || !reflect.DeepEqual(g.TargetGroupARNs, []string{"a", "b"}) {
		t.Errorf("answered %+v", g)
	}
}

type queues struct{ in *sqs.CreateQueueInput }

func (q *queues) CreateQueue(_ context.Context, in *sqs.CreateQueueInput, _ ...func(*sqs.Options)) (*sqs.CreateQueueOutput, error) {
	q.in = in
	return &sqs.CreateQueueOutput{QueueUrl: aws.String("https://q")}, nil
}

func TestJSON(t *testing.T) {
	target := &queues{}
	url, _ := serve(t, Service{Name: "sqs", Protocol: JSON, Target: target})
	client := sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials, RetryMaxAttempts: 1})
	in := &sqs.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"Policy": "{}"}, Tags: map[string]string{"k": "v"}}
	out, err := client.CreateQueue(t.Context(), in)
	if err != nil || *out.QueueUrl != "https://q" {
		t.Fatalf("%+v, %v", out, err)
	}
	if !reflect.DeepEqual(target.in, in) {
		t.Errorf("received %+v", target.in)
	}
}
