package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// lineWriter appends values to a file, one JSON line each, unbuffered: a line
// that was written survives a crash of the process.
type lineWriter struct {
	mu   sync.Mutex
	file *os.File
}

func (w *lineWriter) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.file.Write(append(line, '\n'))
	return err
}

// Close closes the file; closing it again does nothing.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// decodeLines reads a whole ndjson file. Torn is the offset of a last line that
// has no line end, or -1; it is left out even where it would decode, because
// what is missing from it cannot be known.
func decodeLines[T any](file string, data []byte, check func(*T) error) (values []T, torn int64, err error) {
	for offset := 0; offset < len(data); {
		rest := data[offset:]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 || len(bytes.TrimLeft(rest, "\x00")) == 0 {
			return values, int64(offset), nil
		}
		var v T
		if err := decodeStrict(rest[:n], &v); err == nil && check != nil {
			err = check(&v)
			if err != nil {
				return nil, -1, &CorruptError{File: file, Offset: int64(offset), What: err.Error()}
			}
		} else if err != nil {
			return nil, -1, &CorruptError{File: file, Offset: int64(offset), What: "not a line of this file: " + err.Error()}
		}
		values = append(values, v)
		offset += n + 1
	}
	return values, -1, nil
}

// decodeStrict decodes exactly one JSON value without unknown fields.
func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("empty")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON value")
	}
	return nil
}

// jsonOffset returns where in its input a decoding error occurred, as far as
// the error tells.
func jsonOffset(err error) int64 {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &typed):
		return typed.Offset
	}
	return 0
}
