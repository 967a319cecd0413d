package aws

import (
	"context"
	"errors"
	"fmt"
	"os"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Options say where to connect. The zero value is what the environment says.
type Options struct {
	Region, Profile string
	// Endpoint replaces every service's address, for tests and private clouds.
	Endpoint string
	// ReadOnly refuses all calls that do not read; see the function of that name.
	ReadOnly bool
	// MaxAttempts bounds how often a throttled call is repeated; 0 is the
	// environment's AWS_MAX_ATTEMPTS, or 5.
	MaxAttempts int
}

// Clients are the SDK's clients, all of one account and region.
type Clients struct {
	Region string

	EC2         *ec2.Client
	AutoScaling *autoscaling.Client
	Balancers   *elasticloadbalancingv2.Client
	S3          *s3.Client
	IAM         *iam.Client
	Quotas      *servicequotas.Client
	STS         *sts.Client
	EKS         *eks.Client
}

// Connect finds credentials by the SDK's default chain and returns clients. It
// asks AWS nothing: WhoAmI does.
func Connect(ctx context.Context, o Options) (*Clients, error) {
	if o.MaxAttempts == 0 && os.Getenv("AWS_MAX_ATTEMPTS") == "" {
		o.MaxAttempts = 5
	}
	var load []func(*config.LoadOptions) error
	if o.MaxAttempts > 0 {
		load = append(load, config.WithRetryMaxAttempts(o.MaxAttempts))
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.Endpoint))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w; look at AWS_PROFILE and ~/.aws/config", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region: give the scenario's region, or set AWS_REGION")
	}
	// Whoever turned the SDK's own log on in the environment must not find signed
	// requests in the record.
	cfg.ClientLogMode = 0
	if o.ReadOnly {
		cfg = ReadOnly(cfg)
	}
	return FromConfig(cfg), nil
}

// FromConfig returns the clients of a configuration that is already made.
func FromConfig(cfg awssdk.Config) *Clients {
	return &Clients{
		Region: cfg.Region, EC2: ec2.NewFromConfig(cfg), AutoScaling: autoscaling.NewFromConfig(cfg),
		Balancers: elasticloadbalancingv2.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), Quotas: servicequotas.NewFromConfig(cfg),
		STS: sts.NewFromConfig(cfg), EKS: eks.NewFromConfig(cfg),
		// A bucket's name may contain dots, which no wildcard certificate covers.
		S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
	}
}
