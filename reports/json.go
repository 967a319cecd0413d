package reports

import (
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes the verdict document, exactly as verdict.json holds it.
func JSON(w io.Writer, v View) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v.Verdict); err != nil {
		return fmt.Errorf("writing the verdict document: %w", err)
	}
	return nil
}
