package preflight

import (
	"strings"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// unavailableAPIServices finds APIs that are served by an extension which does
// not answer.
func unavailableAPIServices(s *State) []record.Finding {
	var out []record.Finding
	for i := range s.APIServices {
		if s.APIServices[i].Available {
			continue
		}
		name, why := s.APIServices[i].Name, s.APIServices[i].Why
		out = append(out, record.Finding{ID: "api-service-unavailable", Severity: record.SeverityWarn, Object: "apiservice/" + name,
			Cause:  "APIService " + name + " is not available (" + strings.TrimSuffix(why, ".") + "). Discovery is incomplete, and namespaces cannot be deleted.",
			Remedy: "Repair the service behind it, or delete the APIService if its extension is gone."})
	}
	return out
}
