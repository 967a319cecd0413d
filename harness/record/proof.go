package record

import "time"

// Proof is what planting known faults showed of the gate: whether each was
// found, named and bounded, and whether clean runs passed.
type Proof struct {
	Driver  string    `json:"driver"` // of the rehearsals in which they were planted
	Tool    string    `json:"tool"`
	Started time.Time `json:"started"`
	TookNS  int64     `json:"tookNS"`
	// Partial is true where only some of the driver's faults were planted.
	Partial bool         `json:"partial,omitempty"`
	Rows    []ProofOfOne `json:"rows"`
}

// ProofOfOne is the proof of one fault, or of one clean run.
type ProofOfOne struct {
	Fault string `json:"fault"`
	What  string `json:"what"`
	// Clean is true for a run without any fault, which must be GO.
	Clean bool `json:"clean,omitempty"`
	// Expected says what had to be found, in words: criteria, rules, outcomes.
	Expected string `json:"expected"`
	Verdict  string `json:"verdict"`
	// DetectedAfterNS is the time from when the fault was there to its first
	// trace in what the verdict rests on; nil where nothing was found.
	DetectedAfterNS *int64 `json:"detectedAfterNS,omitempty"`
	// AttributedTo is what the verdict blames, in its own words.
	AttributedTo string `json:"attributedTo,omitempty"`
	// Found is true where the fault was found, named and bounded as expected;
	// WhyNot says in sentences what was not.
	Found  bool     `json:"found"`
	WhyNot []string `json:"whyNot,omitempty"`
	// Attempts is above 1 where a first rehearsal did not show it and another
	// one, alone on the machine, did; First says what the first one lacked.
	Attempts int      `json:"attempts"`
	First    []string `json:"first,omitempty"`
	// Record is the run directory of a fault that was missed, or that was to be
	// kept.
	Record string `json:"record,omitempty"`
}

// Missed returns the names of what was not found, in the order of the rows.
func (p *Proof) Missed() []string {
	var out []string
	for _, r := range p.Rows {
		if !r.Found {
			out = append(out, r.Fault)
		}
	}
	return out
}
