package preflight

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Format is the version of a snapshot's layout. A reader refuses any other.
const Format = 1

// WriteSnapshot writes the state as one document of JSON, compressed by gzip
// where compress is set.
func WriteSnapshot(w io.Writer, s *State, compress bool) error {
	if !compress {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		if err := enc.Encode(s); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		return nil
	}
	z := gzip.NewWriter(w)
	if err := errors.Join(json.NewEncoder(z).Encode(s), z.Close()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// maxSnapshot bounds what is read: some 100 kB a node of a crowded cluster,
// at the 5,000 nodes that Kubernetes supports.
const maxSnapshot = 512 << 20

// ReadSnapshot reads what WriteSnapshot wrote, compressed or not. An unknown
// key, another format or anything after the document is an error.
func ReadSnapshot(r io.Reader) (*State, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err == nil && bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		data, err = unzip(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	if len(data) > maxSnapshot {
		return nil, fmt.Errorf("read snapshot: it is larger than %d MiB", maxSnapshot>>20)
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read snapshot: not a document of JSON as 'rehearse preflight --save' writes it: %w", err)
	}
	if head.Format != Format {
		return nil, fmt.Errorf("read snapshot: its format is %d, this build reads %d; take it again, or read it with the version of rehearse that wrote it", head.Format, Format)
	}
	s := &State{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return s, nil
}

func unzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxSnapshot+1))
}
