package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Encode returns the facts as the facts file holds them, and their digest, which
// is that of exactly these bytes: "sha256:" and 64 hexadecimal digits.
func (f *Facts) Encode() (file []byte, digest string, err error) {
	file, err = json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, "", fmt.Errorf("facts: %w", err)
	}
	file = append(file, '\n')
	return file, Digest(file), nil
}

// Digest is the digest of a facts file.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Decode reads a facts file.
func Decode(file []byte) (*Facts, error) {
	var f Facts
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("no facts file: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("no facts file: something follows the facts")
	}
	if f.Format != FactsFormat {
		return nil, fmt.Errorf("facts of format %d: this rehearse reads format %d; read production again with rehearse mirror --facts", f.Format, FactsFormat)
	}
	for i, x := range f.Facts {
		if !slices.Contains([]Certainty{Observed, Inferred, Unknown}, x.Certainty) {
			return nil, fmt.Errorf("facts[%d], %s: certainty %q is unknown; accepted: %s, %s, %s", i, x.Name, x.Certainty, Observed, Inferred, Unknown)
		}
		if (x.Value == "") != (x.Certainty == Unknown) {
			return nil, fmt.Errorf("facts[%d], %s: a fact has a value exactly where it is not unknown", i, x.Name)
		}
	}
	return &f, nil
}
