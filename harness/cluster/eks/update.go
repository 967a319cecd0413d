package eks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// remedies are what to do about each error code of an update:
// https://docs.aws.amazon.com/eks/latest/APIReference/API_ErrorDetail.html and
// https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html.
var remedies = map[types.ErrorCode]string{
	types.ErrorCodeSubnetNotFound:               "a subnet of the cluster is gone: give the cluster subnets that exist (aws eks update-cluster-config)",
	types.ErrorCodeSecurityGroupNotFound:        "a security group of the cluster is gone: make it again, or give the cluster another",
	types.ErrorCodeEniLimitReached:              "the account has no network interface left: delete unused ones, or raise the quota",
	types.ErrorCodeIpNotAvailable:               "a subnet has no address left: EKS needs up to five in each of two subnets; free some or add a subnet",
	types.ErrorCodeInsufficientFreeAddresses:    "a subnet has too few addresses for the surge: free some, add a subnet, or use the strategy MINIMAL",
	types.ErrorCodeAccessDenied:                 "the node's role or the cluster's may not do it: check the role's policies and its access entry",
	types.ErrorCodeOperationNotPermitted:        "the service-linked role of EKS lacks a permission: make AWSServiceRoleForAmazonEKS again",
	types.ErrorCodeVpcIdNotFound:                "the VPC of the cluster is gone",
	types.ErrorCodeNodeCreationFailure:          "new instances did not join: look at the role's policies, the subnets' route to the API, the image, and capacity of the instance type",
	types.ErrorCodePodEvictionFailure:           "a disruption budget, or a pod that tolerates every taint, keeps its node: add a replica or loosen the budget. force deletes the pods instead, as an operator would at night",
	types.ErrorCodeClusterUnreachable:           "EKS cannot reach the API server: look for webhooks that fail, and at the endpoint's access",
	types.ErrorCodeInsufficientNumberOfReplicas: "the add-on has too few replicas: add a node, or loosen its budget",
	types.ErrorCodeConfigurationConflict:        "a field of the add-on was changed by somebody else: choose how to resolve it",
	types.ErrorCodeAdmissionRequestDenied:       "an admission webhook or policy refuses the add-on: exempt kube-system",
	types.ErrorCodeUnsupportedAddonModification: "the add-on cannot be changed so: look at its configuration schema",
	types.ErrorCodeK8sResourceNotFound:          "an object of the add-on is gone: install the add-on again",
	types.ErrorCodeUnknown:                      "EKS does not say why: try once more, then ask AWS support with the update's id",
}

// UpdateError is an update that ended otherwise than in success.
type UpdateError struct {
	What, ID string
	Status   types.UpdateStatus
	Errors   []types.ErrorDetail
	// Forced tells that Force was set, so evictions were not what failed.
	Forced bool
}

// Error names each code with what it is about and what to do.
func (e *UpdateError) Error() string {
	s := fmt.Sprintf("%s: EKS says %s (update %s)", e.What, strings.ToLower(string(e.Status)), e.ID)
	for _, d := range e.Errors {
		s += fmt.Sprintf("; %s: %s", d.ErrorCode, strings.TrimSuffix(value(d.ErrorMessage), "."))
		if len(d.ResourceIds) > 0 {
			s += " (" + strings.Join(d.ResourceIds, ", ") + ")"
		}
		if remedy, ok := remedies[d.ErrorCode]; ok {
			s += "; " + remedy
		}
	}
	return s
}

// target is what is updated: the cluster itself where both names are empty.
type target struct {
	cluster, group, addon string
	subject, what         string
	to                    string
}

// follow polls an update to its end and tells each change. An interrupted follow
// leaves EKS at work.
func (d *Driver) follow(ctx context.Context, o cluster.RollOptions, t target, u *types.Update) error {
	id := value(u.Id)
	o.Tell(timeline.KindUpgradeStart, t.subject, map[string]string{"to": t.to, "update": id, "what": string(u.Type)})
	err := d.wait(ctx, t, id)
	detail := map[string]string{"to": t.to, "update": id}
	if err != nil {
		detail["error"] = err.Error()
	}
	var failed *UpdateError
	if errors.As(err, &failed) && len(failed.Errors) > 0 {
		detail["code"] = string(failed.Errors[0].ErrorCode)
	}
	o.Tell(timeline.KindUpgradeEnd, t.subject, detail)
	if err == nil || failed != nil {
		return err
	}
	return d.abandoned(t, id, err)
}

// goOn follows updates of the target that are under way already: a run that was
// killed has left them to EKS, which takes no other before they have ended.
func (d *Driver) goOn(ctx context.Context, o cluster.RollOptions, t target) error {
	in := &eks.ListUpdatesInput{Name: &t.cluster}
	if t.group != "" {
		in.NodegroupName = &t.group
	}
	if t.addon != "" {
		in.AddonName = &t.addon
	}
	pages := eks.NewListUpdatesPaginator(d.api, in)
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return aws.Explain("eks:ListUpdates "+t.what, err)
		}
		for _, id := range p.UpdateIds {
			out, err := d.api.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: &t.cluster, UpdateId: &id, NodegroupName: in.NodegroupName, AddonName: in.AddonName})
			if err != nil {
				return aws.Explain("eks:DescribeUpdate "+id, err)
			}
			if out.Update.Status != types.UpdateStatusInProgress {
				continue
			}
			cluster.Logger(ctx).Info("an update is under way already, following it", "update", id, "of", t.what, "type", out.Update.Type)
			if err := d.follow(ctx, o, t, out.Update); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandoned is an update that goes on without anybody who looks. It is not
// cancelled: CancelUpdate is granted for version rollbacks of clusters in auto
// mode alone, while their nodes go back
// (https://docs.aws.amazon.com/eks/latest/APIReference/API_CancelUpdate.html).
func (d *Driver) abandoned(t target, id string, err error) error {
	left := cluster.Leftover{
		Kind: "EKS update", Name: t.what + " " + id, Created: time.Now(),
		Delete: "EKS goes on with it and cancels none of this kind; look with: aws eks describe-update --region " + d.o.Clients.Region + " --name " + t.cluster + t.flags() + " --update-id " + id,
	}
	return &cluster.RollError{Err: fmt.Errorf("%s: %w", t.what, err), Left: []cluster.Leftover{left}}
}

func (t target) flags() string {
	switch {
	case t.group != "":
		return " --nodegroup-name " + t.group
	case t.addon != "":
		return " --addon-name " + t.addon
	}
	return ""
}

// patience is how many looks in a row may fail before the update counts as not
// observable: with the SDK's own repetitions, minutes of throttling.
const patience = 8

func (d *Driver) wait(ctx context.Context, t target, id string) error {
	in := &eks.DescribeUpdateInput{Name: &t.cluster, UpdateId: &id}
	if t.group != "" {
		in.NodegroupName = &t.group
	}
	if t.addon != "" {
		in.AddonName = &t.addon
	}
	failures := 0
	for {
		out, err := d.api.DescribeUpdate(ctx, in)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if failures++; failures >= patience || !passes(err) {
				return aws.Explain("eks:DescribeUpdate "+id, err)
			}
			cluster.Logger(ctx).Warn("EKS could not be asked, asking again", "update", id, "error", aws.Explain("eks:DescribeUpdate", err))
		default:
			failures = 0
			switch out.Update.Status {
			case types.UpdateStatusSuccessful:
				return nil
			case types.UpdateStatusFailed, types.UpdateStatusCancelled:
				return &UpdateError{What: t.what, ID: id, Status: out.Update.Status, Errors: out.Update.Errors, Forced: d.o.Force}
			}
		}
		if err := pause.For(ctx, d.o.Every); err != nil {
			return err
		}
	}
}

// passes tells whether asking again may help: not with refused credentials.
func passes(err error) bool {
	switch code := aws.Code(err); code {
	case "":
		return true // AWS was not reached
	case "ThrottlingException", "TooManyRequestsException", "ServerException", "ServiceUnavailableException", "InternalFailure", "RequestLimitExceeded":
		return true
	}
	return false
}
