package scenarios

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as "90s" or "15m". A value that cannot be
// read is kept as it was given, so that validation can report it together with
// every other mistake, by its path.
type Duration struct {
	time.Duration
	invalid string
}

// D returns d as a Duration.
func D(d time.Duration) Duration { return Duration{Duration: d} }

// UnmarshalJSON implements json.Unmarshaler; it never fails, see Duration.
func (d *Duration) UnmarshalJSON(b []byte) error {
	*d = Duration{}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		d.invalid = string(b)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		d.invalid = strconv.Quote(s)
		return nil
	}
	d.Duration = v
	return nil
}

// MarshalJSON writes the duration as UnmarshalJSON reads it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// Off is how a threshold is written that shall be measured and shown but never
// fail the rehearsal.
const Off = "off"

// Percent is a share of one, written as "99.9%" or 0.999, or "off". As
// Duration, it keeps what it cannot read.
type Percent struct {
	Ratio   float64 // 1 is 100%
	Off     bool    // Ratio means nothing
	invalid string
	bare    float64 // what invalid is, if its mistake is to lack a unit
}

// Pct returns p percent, so that Pct(99.9) is a share of 0.999.
func Pct(p float64) Percent { return Percent{Ratio: roundTo(p/100, 12)} }

// UnmarshalJSON implements json.Unmarshaler; it never fails, see Duration.
func (p *Percent) UnmarshalJSON(b []byte) error {
	*p = Percent{}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		s = string(b)
	}
	if s == Off || s == "false" { // YAML reads a bare off as false
		p.Off = true
		return nil
	}
	num, isPercent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		p.invalid = string(b)
		return nil
	}
	if isPercent {
		v = roundTo(v/100, 12)
	} else if v > 1 {
		// 25 for 25% would be a limit of 2500%, which nothing ever exceeds.
		p.invalid, p.bare = string(b), v
		return nil
	}
	p.Ratio = v
	return nil
}

// MarshalJSON writes the share as a percentage.
func (p Percent) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// String returns the share as a percentage, with as many digits as it needs.
func (p Percent) String() string {
	if p.Off {
		return Off
	}
	return strconv.FormatFloat(roundTo(p.Ratio*100, 9), 'f', -1, 64) + "%"
}

func roundTo(x float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(x*f) / f
}

// Format prints like String for every verb, so that %v in messages is readable.
func (p Percent) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }
