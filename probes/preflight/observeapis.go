package preflight

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// notOffered says that the caller gave no way to look, as a simulated cluster
// has none.
const notOffered = "this cluster offers no way to look"

// apiUses gathers evidence of APIs that end. Of objects only their metadata is
// asked for, and of annotations and Helm manifests only apiVersion and kind are
// kept.
func (o *observer) apiUses(server string) {
	o.requestedAPIs()
	if o.err == nil {
		o.objectAPIs(server)
	}
	if o.err == nil {
		o.helmAPIs()
	}
	slices.SortFunc(o.s.APIUses, func(a, b APIUse) int {
		return strings.Compare(a.Group+a.Version+a.Kind+a.Evidence+a.By, b.Group+b.Version+b.Kind+b.Evidence+b.By)
	})
	o.s.APIUses = slices.Compact(o.s.APIUses)
}

var (
	requestedMetric = regexp.MustCompile(`(?m)^apiserver_requested_deprecated_apis\{([^}]*)\} 1$`)
	metricLabel     = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// requestedAPIs reads which deprecated APIs clients have asked the API server
// for since it started; behind a balancer that is any one of its servers.
func (o *observer) requestedAPIs() {
	if o.src.Raw == nil {
		o.note(Requests, notOffered)
		return
	}
	text, err := o.src.Raw(o.ctx, "/metrics")
	if o.failed(Requests, "get", "the non-resource URL /metrics", err) {
		return
	}
	kinds := map[schema.GroupVersionResource]string{}
	for gvk := range apiTable() {
		kinds[gvk.GroupVersion().WithResource(pluralOf(gvk.Kind))] = gvk.Kind
	}
	for _, m := range requestedMetric.FindAllSubmatch(text, -1) {
		l := map[string]string{}
		for _, kv := range metricLabel.FindAllSubmatch(m[1], -1) {
			l[string(kv[1])] = string(kv[2])
		}
		r := schema.GroupVersionResource{Group: l["group"], Version: l["version"], Resource: l["resource"]}
		if kind, ok := kinds[r]; ok {
			o.s.APIUses = append(o.s.APIUses, APIUse{Group: r.Group, Version: r.Version, Kind: kind, Evidence: EvidenceRequested})
		}
	}
}

// pluralOf is the resource of a kind, by the rule that all kinds of apiTable obey.
func pluralOf(kind string) string {
	k := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(k, "y"):
		return strings.TrimSuffix(k, "y") + "ies"
	case strings.HasSuffix(k, "s"):
		return k + "es"
	}
	return k + "s"
}

// objectAPIs looks at the objects of every kind of which some version is still
// served and ends: who wrote their fields, and with what they were last applied.
func (o *observer) objectAPIs(server string) {
	v, err := version.ParseGeneric(server)
	if o.src.Metadata == nil || err != nil {
		o.note(Objects, notOffered)
		return
	}
	ends := map[schema.GroupKind]bool{}
	for gvk, l := range apiTable() {
		// Events expire by themselves, and reviews are not stored.
		if l.removed > v.Minor() && gvk.Kind != "Event" {
			ends[gvk.GroupKind()] = true
		}
	}
	// Where an extension does not answer, what the others serve is still told.
	_, served, err := o.src.Client.Discovery().ServerGroupsAndResources()
	if served == nil && o.failed(Objects, "get", "the API's discovery documents", err) {
		return
	}
	seen := map[schema.GroupResource]bool{}
	for _, group := range served {
		gv, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range group.APIResources {
			if ends[schema.GroupKind{Group: gv.Group, Kind: r.Kind}] && slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") && !seen[schema.GroupResource{Group: gv.Group, Resource: r.Name}] {
				seen[schema.GroupResource{Group: gv.Group, Resource: r.Name}] = true
				o.objectsOf(gv.WithResource(r.Name), r.Kind)
			}
			if o.err != nil {
				return
			}
		}
	}
}

func (o *observer) objectsOf(r schema.GroupVersionResource, kind string) {
	l, err := o.src.Metadata.Resource(r).List(o.ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || o.failed(Objects, "list", r.GroupResource().String(), err) {
		return
	}
	for i := range l.Items {
		m := &l.Items[i]
		name := strings.ToLower(kind) + "/" + strings.TrimPrefix(m.Namespace+"/"+m.Name, "/")
		for _, f := range m.ManagedFields {
			if gv, err := schema.ParseGroupVersion(f.APIVersion); err == nil {
				o.s.APIUses = append(o.s.APIUses, APIUse{Group: gv.Group, Version: gv.Version, Kind: kind, Evidence: EvidenceManaged, By: name + " by " + f.Manager})
			}
		}
		if u, ok := typeOf([]byte(m.Annotations[lastApplied])); ok {
			u.Evidence, u.By = EvidenceApplied, name
			o.s.APIUses = append(o.s.APIUses, u)
		}
	}
	// What does not end is of no interest.
	o.s.APIUses = slices.DeleteFunc(o.s.APIUses, func(u APIUse) bool { _, ok := apiTable()[u.gvk()]; return !ok })
}

// typeOf reads apiVersion and kind of a manifest, and nothing else.
func typeOf(manifest []byte) (APIUse, bool) {
	var t metav1.TypeMeta
	if err := yaml.Unmarshal(manifest, &t); err != nil || t.Kind == "" {
		return APIUse{}, false
	}
	gv, err := schema.ParseGroupVersion(t.APIVersion)
	if err != nil {
		return APIUse{}, false
	}
	return APIUse{Group: gv.Group, Version: gv.Version, Kind: t.Kind}, true
}

// helmAPIs looks at the manifests of deployed Helm releases, which Helm keeps in
// Secrets of its own type.
func (o *observer) helmAPIs() {
	opts := metav1.ListOptions{LabelSelector: "owner=helm,status=deployed", FieldSelector: "type=helm.sh/release.v1"}
	l, err := o.src.Client.CoreV1().Secrets(metav1.NamespaceAll).List(o.ctx, opts)
	if o.failed(HelmReleases, "list", "secrets", err) {
		return
	}
	for i := range l.Items {
		s := &l.Items[i]
		if s.Type != "helm.sh/release.v1" {
			continue
		}
		manifest, err := helmManifest(s.Data["release"])
		if err != nil {
			o.note(HelmReleases, fmt.Sprintf("Helm release %s/%s cannot be read: %v", s.Namespace, s.Labels["name"], err))
			continue
		}
		for _, doc := range documents.Split(manifest, -1) {
			u, ok := typeOf([]byte(doc))
			if _, ends := apiTable()[u.gvk()]; ok && ends {
				u.Evidence, u.By = EvidenceHelm, s.Namespace+"/"+s.Labels["name"]
				o.s.APIUses = append(o.s.APIUses, u)
			}
		}
	}
}

var documents = regexp.MustCompile(`(?m)^---.*$`)

// maxHelmManifest bounds what one release unpacks to; a Secret holds 1 MiB.
const maxHelmManifest = 64 << 20

// helmManifest unpacks a release: base64 of gzip of JSON
// (helm.sh/helm/v3/pkg/storage/driver/util.go).
func helmManifest(data []byte) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		return "", err
	}
	if bytes.HasPrefix(packed, []byte{0x1f, 0x8b, 0x08}) {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return "", err
		}
		if packed, err = io.ReadAll(io.LimitReader(z, maxHelmManifest)); err != nil {
			return "", err
		}
	}
	var release struct {
		Manifest string `json:"manifest"`
	}
	if err := json.Unmarshal(packed, &release); err != nil {
		return "", fmt.Errorf("not the release of a Helm that is known: %w", err)
	}
	return release.Manifest, nil
}
