package record

import "strings"

// Group is a finding, and the objects after the first of which the same was
// found.
type Group struct {
	Finding
	Also []string
}

// Objects returns all objects of the group, in the order in which they were
// found.
func (g Group) Objects() []string { return append([]string{g.Object}, g.Also...) }

// Together puts findings together that say the same of several objects: of one
// ID and severity, and with the same texts but for the object's own name. Fifty
// nodes of one kind are one thing to know and to do. The order is that of the
// first of each group; no finding is lost.
func Together(findings []Finding) []Group {
	var out []Group
	at := map[Finding]int{}
	for _, f := range findings {
		_, name, found := strings.Cut(f.Object, "/")
		if !found {
			name = f.Object
		}
		kind := f
		kind.Object = strings.TrimSuffix(f.Object, name)
		if name != "" {
			const mark = "\x00"
			kind.Cause, kind.Remedy = strings.ReplaceAll(f.Cause, name, mark), strings.ReplaceAll(f.Remedy, name, mark)
		}
		if i, ok := at[kind]; ok {
			out[i].Also = append(out[i].Also, f.Object)
			continue
		}
		at[kind] = len(out)
		out = append(out, Group{Finding: f})
	}
	return out
}
