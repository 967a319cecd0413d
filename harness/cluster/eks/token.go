package eks

import (
	"context"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	aws "github.com/kube-rehearse/rehearse/probes/aws"
)

// tokens signs requests to the API server as EKS wants it: a token is the
// address of a call of sts:GetCallerIdentity, signed in advance for one cluster
// (https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster).
// It stays in memory: neither kubeconfig nor record holds it.
type tokens struct {
	cluster string
	sts     *sts.Client

	mu    sync.Mutex
	token string
	until time.Time
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && time.Now().Before(t.until) {
		return t.token, nil
	}
	signed, err := sts.NewPresignClient(t.sts).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(smithyhttp.SetHeaderValue("x-k8s-aws-id", t.cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "60")))
	})
	if err != nil {
		return "", aws.Explain("sign a token for cluster "+t.cluster, err)
	}
	t.token, t.until = "k8s-aws-v1."+base64.RawURLEncoding.EncodeToString([]byte(signed.URL)), time.Now().Add(tokenLife)
	return t.token, nil
}

type signing struct {
	t    *tokens
	next http.RoundTripper
}

func (t *tokens) wrap(next http.RoundTripper) http.RoundTripper { return &signing{t, next} }

// RoundTrip implements http.RoundTripper.
func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := s.t.get(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return s.next.RoundTrip(r)
}
