package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sumsFile seals a record. It has the format of sha256sum(1), so that anybody
// can check it: sha256sum -c SHA256SUMS.
const sumsFile = "SHA256SUMS"

// evidence lists the files that a seal covers, sorted, as slash-separated paths
// inside the run directory.
func evidence(dir string) ([]string, error) {
	var files []string
	for _, name := range []string{runFile, timelineFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			files = append(files, name)
		}
	}
	for _, sub := range []string{loadDir, probesDir, clusterDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				files = append(files, sub+"/"+e.Name())
			}
		}
	}
	slices.Sort(files)
	return files, nil
}

func writeSums(dir string) error {
	files, err := evidence(dir)
	if err != nil {
		return fmt.Errorf("seal record: %w", err)
	}
	var b bytes.Buffer
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("seal record: %w", err)
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	if err := writeAtomic(filepath.Join(dir, sumsFile), b.Bytes()); err != nil {
		return fmt.Errorf("seal record: %w", err)
	}
	return nil
}

// sums is a seal as read back: digests by path.
type sums map[string][sha256.Size]byte

// readSums returns nil where the record was not sealed.
func readSums(dir string) (sums, error) {
	data, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := sums{}
	var offset int64
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		line := scan.Text()
		digest, name, ok := strings.Cut(line, "  ")
		raw, err := hex.DecodeString(digest)
		if !ok || err != nil || len(raw) != sha256.Size || name == "" {
			return nil, &CorruptError{File: sumsFile, Offset: offset, What: "not a line of SHA-256 sums"}
		}
		if _, twice := s[name]; twice {
			return nil, &CorruptError{File: sumsFile, Offset: offset, What: name + " is listed twice"}
		}
		s[name] = [sha256.Size]byte(raw)
		offset += int64(len(line)) + 1
	}
	return s, nil
}

// check compares a file's content with the seal.
func (s sums) check(name string, data []byte) error {
	if s == nil {
		return nil
	}
	want, ok := s[name]
	if !ok {
		return &CorruptError{File: name, What: "was added after the record was sealed"}
	}
	if sha256.Sum256(data) != want {
		return &CorruptError{File: name, What: fmt.Sprintf("was changed after the record was sealed: the SHA-256 of its %d bytes is not the one in %s", len(data), sumsFile)}
	}
	return nil
}

// checkAll reports files that were removed or added since.
func (s sums) checkAll(dir string) error {
	if s == nil {
		return nil
	}
	have, err := evidence(dir)
	if err != nil {
		return err
	}
	for _, name := range have {
		if _, ok := s[name]; !ok {
			return &CorruptError{File: name, What: "was added after the record was sealed"}
		}
	}
	for name := range s {
		if !slices.Contains(have, name) {
			return &CorruptError{File: name, What: "is missing, but the record was sealed with it"}
		}
	}
	return nil
}
