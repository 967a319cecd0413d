package probes

import "strings"

// ImageVersion returns the tag of an image reference, or "" where it has none:
// "v1.35.4" of registry.k8s.io/kube-apiserver:v1.35.4@sha256:….
func ImageVersion(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndexByte(image, '/')+1:] // a port's colon comes before the last slash
	_, tag, _ := strings.Cut(name, ":")
	return tag
}
