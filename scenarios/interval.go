package scenarios

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AutoInterval is how an interval is written that is to be searched for.
const AutoInterval = "auto"

// Interval is a Duration, or "auto".
type Interval struct {
	Duration
	Auto bool
}

// UnmarshalJSON implements json.Unmarshaler; as Duration, it never fails.
func (i *Interval) UnmarshalJSON(b []byte) error {
	*i = Interval{}
	var s string
	if json.Unmarshal(b, &s) == nil && s == AutoInterval {
		i.Auto = true
		return nil
	}
	return i.Duration.UnmarshalJSON(b)
}

// MarshalJSON writes the interval as UnmarshalJSON reads it.
func (i Interval) MarshalJSON() ([]byte, error) {
	if i.Auto {
		return json.Marshal(AutoInterval)
	}
	return i.Duration.MarshalJSON()
}

// WithInterval returns the upgrade with both intervals set, and none to search.
func (u Upgrade) WithInterval(d time.Duration) Upgrade {
	u.Interval, u.ControlPlaneInterval, u.NodeInterval = nil, D(d), D(d)
	return u
}

// AutoInterval reports whether the interval is to be searched for.
func (u *Upgrade) AutoInterval() bool { return u.Interval != nil && u.Interval.Auto }

func (i *Interval) validate(p *field.Path) field.ErrorList {
	if i == nil || i.Auto {
		return nil
	}
	if i.invalid != "" {
		return field.ErrorList{field.Invalid(p, raw(i.invalid), `a duration such as 90s or 15m, or "auto" to search for the smallest`)}
	}
	return i.Duration.validate(p, 0, 24*time.Hour)
}
