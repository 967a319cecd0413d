package record

import "fmt"

// CorruptError says which file of a record cannot be trusted, and where: it is
// of another format version, damaged, truncated or tampered with. No verdict
// may be based on such a record.
type CorruptError struct {
	File   string // path inside the run directory
	Offset int64  // in bytes
	What   string
}

// Error names file, offset and what is wrong there.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s", e.File, e.Offset, e.What)
}
