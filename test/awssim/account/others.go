package account

import (
	"context"
	"slices"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"k8s.io/kops/cloudmock/aws/mockeventbridge"
	"k8s.io/kops/cloudmock/aws/mockiam"
	"k8s.io/kops/cloudmock/aws/mocksqs"

	"github.com/kube-rehearse/rehearse/test/awssim/wire"
)

type identity struct{}

// GetCallerIdentity says whose credentials they are.
func (identity) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: aws.String(Number), Arn: aws.String("arn:aws:iam::" + Number + ":user/awssim"), UserId: aws.String("AIDAAWSSIM")}, nil
}

// iamAPI is IAM.
type iamAPI struct{ *mockiam.MockIAM }

// queuesAPI is SQS: queues are found by the beginning of their names and can be
// deleted, neither of which the mock does.
type queuesAPI struct{ *mocksqs.MockSQS }

const queueURL = "https://sqs.us-east-1.amazonaws.com/123456789123/" // the mock's

// ListQueues lists queues by prefix.
func (q *queuesAPI) ListQueues(_ context.Context, in *sqs.ListQueuesInput, _ ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error) {
	out := &sqs.ListQueuesOutput{}
	for name := range q.Queues {
		if strings.HasPrefix(name, aws.ToString(in.QueueNamePrefix)) {
			out.QueueUrls = append(out.QueueUrls, queueURL+name)
		}
	}
	sort.Strings(out.QueueUrls)
	return out, nil
}

// DeleteQueue deletes a queue.
func (q *queuesAPI) DeleteQueue(_ context.Context, in *sqs.DeleteQueueInput, _ ...func(*sqs.Options)) (*sqs.DeleteQueueOutput, error) {
	name := strings.TrimPrefix(aws.ToString(in.QueueUrl), queueURL)
	if _, ok := q.Queues[name]; !ok {
		return nil, wire.Fail("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	}
	delete(q.Queues, name)
	return &sqs.DeleteQueueOutput{}, nil
}

// eventsAPI is EventBridge: rules have names, are found by the beginning of them,
// and can be deleted, none of which the mock does.
type eventsAPI struct {
	*mockeventbridge.MockEventBridge
}

// PutRule makes a rule.
func (e *eventsAPI) PutRule(ctx context.Context, in *eventbridge.PutRuleInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutRuleOutput, error) {
	out, err := e.MockEventBridge.PutRule(ctx, in)
	if err == nil {
		e.Rules[*in.Name].Name = in.Name
	}
	return out, err
}

// ListRules lists rules by prefix.
func (e *eventsAPI) ListRules(_ context.Context, in *eventbridge.ListRulesInput, _ ...func(*eventbridge.Options)) (*eventbridge.ListRulesOutput, error) {
	out := &eventbridge.ListRulesOutput{}
	for name, r := range e.Rules {
		if strings.HasPrefix(name, aws.ToString(in.NamePrefix)) {
			out.Rules = append(out.Rules, *r)
		}
	}
	sort.Slice(out.Rules, func(i, j int) bool { return *out.Rules[i].Name < *out.Rules[j].Name })
	return out, nil
}

// RemoveTargets takes targets off a rule.
func (e *eventsAPI) RemoveTargets(_ context.Context, in *eventbridge.RemoveTargetsInput, _ ...func(*eventbridge.Options)) (*eventbridge.RemoveTargetsOutput, error) {
	e.TargetsByRule[*in.Rule] = slices.DeleteFunc(e.TargetsByRule[*in.Rule], func(t eventtypes.Target) bool { return slices.Contains(in.Ids, aws.ToString(t.Id)) })
	return &eventbridge.RemoveTargetsOutput{}, nil
}

// DeleteRule deletes a rule that has no targets.
func (e *eventsAPI) DeleteRule(_ context.Context, in *eventbridge.DeleteRuleInput, _ ...func(*eventbridge.Options)) (*eventbridge.DeleteRuleOutput, error) {
	if len(e.TargetsByRule[*in.Name]) > 0 {
		return nil, wire.Fail("ValidationException", "Rule can't be deleted since it has targets.")
	}
	delete(e.Rules, *in.Name)
	return &eventbridge.DeleteRuleOutput{}, nil
}
