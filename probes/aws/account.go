package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// BucketReader reads what a bucket is like, never what is in it.
type BucketReader interface {
	// HeadBucket tells whether the bucket is there and may be read.
	HeadBucket(context.Context, *s3.HeadBucketInput, ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
	// GetBucketVersioning tells whether what is overwritten is kept.
	GetBucketVersioning(context.Context, *s3.GetBucketVersioningInput, ...func(*s3.Options)) (*s3.GetBucketVersioningOutput, error)
	// GetPublicAccessBlock tells which public access is forbidden whatever a policy says.
	GetPublicAccessBlock(context.Context, *s3.GetPublicAccessBlockInput, ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error)
	// GetBucketPolicyStatus tells whether the policy makes the bucket public.
	GetBucketPolicyStatus(context.Context, *s3.GetBucketPolicyStatusInput, ...func(*s3.Options)) (*s3.GetBucketPolicyStatusOutput, error)
}

// Bucket checks a state store: reachable, versioned, and closed to the public,
// since it holds the cluster's certificates.
func Bucket(ctx context.Context, c BucketReader, name string) ([]record.Finding, error) {
	object := "bucket/" + name
	_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	switch Code(err) {
	case "":
		if err != nil {
			return nil, Explain("s3:HeadBucket "+name, err)
		}
	case "NotFound", "NoSuchBucket":
		return []record.Finding{finding("bucket-missing", record.SeverityBlock, object, "it does not exist", "create it, turn on versioning, or correct cluster.kops.stateStore")}, nil
	case "MovedPermanently", "PermanentRedirect", "301":
		return []record.Finding{finding("bucket-region", record.SeverityBlock, object, "it is in another region", "give the region in which it was made (aws s3api get-bucket-location)")}, nil
	default:
		return nil, Explain("s3:HeadBucket "+name, err)
	}
	var found []record.Finding
	v, err := c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
	if err != nil {
		return found, Explain("s3:GetBucketVersioning "+name, err)
	}
	if v.Status != s3types.BucketVersioningStatusEnabled {
		found = append(found, finding("bucket-versioning", record.SeverityWarn, object, "it keeps no versions, so a state that was overwritten is lost", "aws s3api put-bucket-versioning --bucket "+name+" --versioning-configuration Status=Enabled"))
	}
	closed := false
	block, err := c.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name})
	switch code := Code(err); {
	case code == "NoSuchPublicAccessBlockConfiguration":
	case err != nil:
		return found, Explain("s3:GetPublicAccessBlock "+name, err)
	default:
		p := block.PublicAccessBlockConfiguration
		closed = p != nil && value(p.BlockPublicAcls) && value(p.IgnorePublicAcls) && value(p.BlockPublicPolicy) && value(p.RestrictPublicBuckets)
	}
	status, err := c.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &name})
	if err != nil && Code(err) != "NoSuchBucketPolicy" {
		return found, Explain("s3:GetBucketPolicyStatus "+name, err)
	}
	const shut = "aws s3api put-public-access-block --bucket %s --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
	switch {
	case err == nil && status.PolicyStatus != nil && value(status.PolicyStatus.IsPublic):
		found = append(found, finding("bucket-public", record.SeverityBlock, object, "its policy makes it public: anybody may read the cluster's keys", fmt.Sprintf(shut, name)+", and renew the cluster's certificates"))
	case !closed:
		found = append(found, finding("bucket-open", record.SeverityWarn, object, "nothing keeps it from being made public", fmt.Sprintf(shut, name)))
	}
	return found, nil
}

// regional asks for a bucket in its own region.
type regional struct {
	BucketReader
	region string
}

func (r regional) in(o []func(*s3.Options)) []func(*s3.Options) {
	return append(o, func(o *s3.Options) { o.Region = r.region })
}

// HeadBucket implements BucketReader.
func (r regional) HeadBucket(ctx context.Context, in *s3.HeadBucketInput, o ...func(*s3.Options)) (*s3.HeadBucketOutput, error) {
	return r.BucketReader.HeadBucket(ctx, in, r.in(o)...)
}

// GetBucketVersioning implements BucketReader.
func (r regional) GetBucketVersioning(ctx context.Context, in *s3.GetBucketVersioningInput, o ...func(*s3.Options)) (*s3.GetBucketVersioningOutput, error) {
	return r.BucketReader.GetBucketVersioning(ctx, in, r.in(o)...)
}

// GetPublicAccessBlock implements BucketReader.
func (r regional) GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput, o ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error) {
	return r.BucketReader.GetPublicAccessBlock(ctx, in, r.in(o)...)
}

// GetBucketPolicyStatus implements BucketReader.
func (r regional) GetBucketPolicyStatus(ctx context.Context, in *s3.GetBucketPolicyStatusInput, o ...func(*s3.Options)) (*s3.GetBucketPolicyStatusOutput, error) {
	return r.BucketReader.GetBucketPolicyStatus(ctx, in, r.in(o)...)
}

// Anywhere returns a reader that asks for the bucket in the region in which it
// lies, which S3 tells whoever asks elsewhere. A state store may lie in another
// region than its clusters.
func Anywhere(ctx context.Context, c BucketReader, name string) BucketReader {
	_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return c
	}
	if region := answer.Response.Header.Get("X-Amz-Bucket-Region"); region != "" {
		return regional{c, region}
	}
	return c
}

// QuotaReader reads quotas.
type QuotaReader interface {
	GetServiceQuota(context.Context, *servicequotas.GetServiceQuotaInput, ...func(*servicequotas.Options)) (*servicequotas.GetServiceQuotaOutput, error)
}

// Quota is a limit of the account, what is used of it, and what a surge adds.
type Quota struct {
	Service, Code, Name string
	Used, More          float64
}

// QuotaStandardVCPUs limits on-demand instances of the families A, C, D, H, I, M,
// R, T and Z together, in virtual CPUs.
func QuotaStandardVCPUs(used, more float64) Quota {
	return Quota{"ec2", "L-1216C47A", "virtual CPUs of on-demand standard instances", used, more}
}

// Quotas checks that what a surge adds is within the account's limits. A quota
// that cannot be read is told as such: it is not known to suffice.
func Quotas(ctx context.Context, c QuotaReader, all []Quota) ([]record.Finding, error) {
	var found []record.Finding
	for _, q := range all {
		object := "quota/" + q.Service + "/" + q.Code
		out, err := c.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: &q.Service, QuotaCode: &q.Code})
		switch code := Code(err); {
		case code == "NoSuchResourceException" || classes[code] == forbidden:
			found = append(found, finding("quota-unknown", record.SeverityWarn, object, "the limit of "+q.Name+" could not be read"+message(err), fmt.Sprintf("see yourself that %g more fit", q.More)))
			continue
		case err != nil:
			return found, Explain("servicequotas:GetServiceQuota "+q.Code, err)
		}
		if limit := value(out.Quota.Value); q.Used+q.More > limit {
			found = append(found, finding("quota", record.SeverityBlock, object, fmt.Sprintf("%g %s are allowed, %g are used and the upgrade adds %g", limit, q.Name, q.Used, q.More),
				fmt.Sprintf("aws service-quotas request-service-quota-increase --service-code %s --quota-code %s --desired-value %g", q.Service, q.Code, q.Used+q.More)))
		}
	}
	return found, nil
}

// Simulator answers what a principal would be allowed to do.
type Simulator interface {
	SimulatePrincipalPolicy(context.Context, *iam.SimulatePrincipalPolicyInput, ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error)
}

// DryRunner asks EC2 for a machine without getting one.
type DryRunner interface {
	RunInstances(context.Context, *ec2.RunInstancesInput, ...func(*ec2.Options)) (*ec2.RunInstancesOutput, error)
}

// KopsActions are the changing actions that the real kops 1.35 was seen to call
// from create to delete.
var KopsActions = []string{
	"autoscaling:CreateAutoScalingGroup", "autoscaling:DetachInstances", "autoscaling:TerminateInstanceInAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup",
	"ec2:CreateLaunchTemplate", "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateTags", "ec2:CreateVolume", "ec2:CreateVpc", "ec2:RunInstances", "ec2:TerminateInstances",
	"elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:DeregisterTargets", "events:PutRule",
	"iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:CreateRole", "iam:PassRole", "iam:PutRolePolicy", "s3:GetObject", "s3:PutObject", "sqs:CreateQueue",
}

// EKSMakeActions are those of the EKS driver on a cluster that it makes and
// deletes, beside EKSActions.
var EKSMakeActions = []string{"eks:CreateCluster", "eks:DeleteCluster", "eks:CreateNodegroup", "eks:DeleteNodegroup", "eks:ListClusters", "eks:TagResource", "iam:PassRole"}

// EKSActions are those of the EKS driver on a cluster that exists.
var EKSActions = []string{
	"eks:UpdateClusterVersion", "eks:DescribeUpdate", "eks:ListUpdates", "eks:ListNodegroups", "eks:DescribeNodegroup", "eks:UpdateNodegroupConfig", "eks:UpdateNodegroupVersion",
	"eks:ListAddons", "eks:DescribeAddon", "eks:DescribeAddonVersions", "eks:UpdateAddon", "eks:ListInsights", "eks:DescribeInsight", "eks:DescribeCluster",
}

// Permissions simulates the actions for the caller. A simulation that is itself
// forbidden, or impossible for an assumed role whose name alone is known, falls
// back to a dry run of the one call that says most, and says so.
func Permissions(ctx context.Context, sim Simulator, dry DryRunner, who Identity, actions []string) ([]record.Finding, error) {
	var denied []string
	pages := iam.NewSimulatePrincipalPolicyPaginator(sim, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: awssdk.String(principal(who)), ActionNames: actions})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if code := Code(err); classes[code] == forbidden || code == "InvalidInput" || code == "NoSuchEntity" {
			return dryRun(ctx, dry, who)
		}
		if err != nil {
			return nil, Explain("iam:SimulatePrincipalPolicy", err)
		}
		for _, r := range p.EvaluationResults {
			if r.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeAllowed {
				denied = append(denied, value(r.EvalActionName))
			}
		}
	}
	if len(denied) == 0 {
		return nil, nil
	}
	return []record.Finding{finding("permissions", record.SeverityBlock, who.ARN, "it may not do: "+strings.Join(denied, ", "), "grant these actions: the roll would stop at the first of them")}, nil
}

// principal is the ARN that can be simulated: a session's is that of its role.
func principal(who Identity) string {
	parts := strings.SplitN(who.ARN, ":", 6)
	if len(parts) < 6 || parts[2] != "sts" || !strings.HasPrefix(parts[5], "assumed-role/") {
		return who.ARN
	}
	role, _, _ := strings.Cut(strings.TrimPrefix(parts[5], "assumed-role/"), "/")
	return strings.Join([]string{parts[0], parts[1], "iam", "", parts[4], "role/" + role}, ":")
}

func dryRun(ctx context.Context, dry DryRunner, who Identity) ([]record.Finding, error) {
	note := finding("permissions-unknown", record.SeverityInfo, who.ARN, "the caller may not simulate its own permissions; a dry run of starting a machine is allowed, the rest is not known", "grant iam:SimulatePrincipalPolicy to have all actions checked before the start")
	_, err := dry.RunInstances(ctx, &ec2.RunInstancesInput{DryRun: awssdk.Bool(true), MinCount: awssdk.Int32(1), MaxCount: awssdk.Int32(1), InstanceType: ec2types.InstanceTypeT3Micro})
	switch code := Code(err); {
	case code == "DryRunOperation":
		return []record.Finding{note}, nil
	case code == "UnauthorizedOperation":
		return []record.Finding{finding("permissions", record.SeverityBlock, who.ARN, "it may not start a machine"+message(err), "grant ec2:RunInstances")}, nil
	case err == nil || classes[code] == (class{}) && code != "":
		note.Cause = "the caller may not simulate its own permissions, and a dry run says nothing: " + code
		return []record.Finding{note}, nil
	}
	return nil, Explain("ec2:RunInstances (dry run)", err)
}
