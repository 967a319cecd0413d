package judge

import "testing"

func TestALimitThatIsOffIsNotComparedWith(t *testing.T) {
	for in, want := range map[string]string{
		"p99 went from 7.66 ms to 8.78 ms (+14.7%), between -14.5% and +41.4% at 95%: too uncertain to tell from the -100% allowed. A longer baseline narrows it. Reported, not judged.": "p99 went from 7.66 ms to 8.78 ms (+14.7%), between -14.5% and +41.4% at 95%. Reported, not judged.",
		"a change between 0.0373 and 0.132 points at 95%: too few requests to tell from the -100 points allowed. Reported, not judged.":                                                  "a change between 0.0373 and 0.132 points at 95%. Reported, not judged.",
		"too coarse to tell from the 99.5% required.": "too coarse to tell from the 99.5% required.",
	} {
		if got := comparedWithNothing.ReplaceAllString(in, "."); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
