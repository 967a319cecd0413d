package watch

import (
	"maps"
	"net"
	"slices"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// endpoint is one address of a service, as its EndpointSlices give it together.
type endpoint struct {
	service, address            string // address is IP:PORT
	pod, node                   string
	ready, serving, terminating bool
}

// endpointDiffer lists what happened to the endpoints of the services of one
// namespace. A service's endpoints lie in several slices, and may move between
// them without any change to the service: so what is compared is their union.
//
// An endpoint counts as added when it becomes ready and as removed when it no
// longer is, because that is when kube-proxy begins and ceases to send new
// connections to it (while the service has any other that is ready).
type endpointDiffer struct {
	slices map[string]*discoveryv1.EndpointSlice
}

func newEndpointDiffer() *endpointDiffer {
	return &endpointDiffer{slices: map[string]*discoveryv1.EndpointSlice{}}
}

func (d *endpointDiffer) changes(batch []pair[discoveryv1.EndpointSlice]) []change {
	before := unionOf(d.slices)
	for _, p := range batch {
		if p.after == nil {
			delete(d.slices, p.before.Name)
			continue
		}
		d.slices[p.after.Name] = p.after
	}
	return endpointChanges(before, unionOf(d.slices))
}

// learn takes slices that existed before anything was watched.
func (d *endpointDiffer) learn(slice *discoveryv1.EndpointSlice) { d.slices[slice.Name] = slice }

// unionOf returns the endpoints of slices by service and address. One that two
// slices list (it is being moved) is ready if either says so.
func unionOf(bySlice map[string]*discoveryv1.EndpointSlice) map[string]endpoint {
	out := map[string]endpoint{}
	for _, name := range slices.Sorted(maps.Keys(bySlice)) {
		s := bySlice[name]
		service := s.Labels[discoveryv1.LabelServiceName]
		for _, e := range s.Endpoints {
			for _, ip := range e.Addresses {
				x := endpoint{
					service: service,
					address: withPort(ip, s.Ports),
					node:    deref(e.NodeName),
					// The API's documentation: nil is to be read as true, and for
					// terminating as false.
					ready:       derefOr(e.Conditions.Ready, true),
					serving:     derefOr(e.Conditions.Serving, derefOr(e.Conditions.Ready, true)),
					terminating: derefOr(e.Conditions.Terminating, false),
				}
				if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
					x.pod = e.TargetRef.Namespace + "/" + e.TargetRef.Name
				}
				key := service + " " + x.address
				if other, ok := out[key]; ok && other.ready {
					x = other
				}
				out[key] = x
			}
		}
	}
	return out
}

// withPort joins the address with the slice's first port; further ports come
// and go with it.
func withPort(ip string, ports []discoveryv1.EndpointPort) string {
	if len(ports) == 0 || ports[0].Port == nil {
		return ip
	}
	return net.JoinHostPort(ip, strconv.Itoa(int(*ports[0].Port)))
}

// endpointChanges compares two states of a namespace's endpoints: removals
// first, then additions, each in order of service and address.
func endpointChanges(before, after map[string]endpoint) []change {
	var out []change
	for _, key := range slices.Sorted(maps.Keys(before)) {
		b, a := before[key], after[key]
		if !b.ready || a.ready {
			continue
		}
		keysAndValues := []string{"service", b.service, "pod", b.pod, "node", b.node}
		if _, listed := after[key]; listed {
			keysAndValues = append(keysAndValues, "ready", "false",
				"serving", strconv.FormatBool(a.serving), "terminating", strconv.FormatBool(a.terminating))
		} else {
			keysAndValues = append(keysAndValues, "gone", "true")
		}
		out = append(out, change{timeline.KindEndpointRemoved, "endpoint/" + b.address, detail(keysAndValues...)})
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if a := after[key]; a.ready && !before[key].ready {
			out = append(out, change{timeline.KindEndpointAdded, "endpoint/" + a.address,
				detail("service", a.service, "pod", a.pod, "node", a.node)})
		}
	}
	return out
}

func deref(s *string) string { return derefOr(s, "") }

func derefOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
