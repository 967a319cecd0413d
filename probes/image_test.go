package probes

import "testing"

func TestImageVersion(t *testing.T) {
	tests := map[string]string{
		"registry.k8s.io/kube-apiserver:v1.35.4":                     "v1.35.4",
		"registry.k8s.io/kube-apiserver:v1.35.4@sha256:0123456789ab": "v1.35.4",
		"registry.k8s.io/kube-apiserver@sha256:0123456789ab":         "",
		"localhost:5000/canary":                                      "",
		"localhost:5000/canary:dev":                                  "dev",
		"coredns:1.12":                                               "1.12",
		"":                                                           "",
	}
	for image, want := range tests {
		if got := ImageVersion(image); got != want {
			t.Errorf("ImageVersion(%q) = %q, want %q", image, got, want)
		}
	}
}
