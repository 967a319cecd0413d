// Package bucket is S3 with one versioned bucket: gofakes3, with the requests of
// kops that it does not know.
package bucket

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Store is a bucket in memory.
type Store struct {
	Name    string
	backend *s3mem.Backend
	server  http.Handler
}

// New returns an empty bucket.
func New(name string) (*Store, error) {
	s := &Store{Name: name, backend: s3mem.New()}
	if err := s.backend.CreateBucket(name); err != nil {
		return nil, err
	}
	if err := s.backend.SetVersioningConfiguration(name, gofakes3.VersioningConfiguration{Status: gofakes3.VersioningEnabled}); err != nil {
		return nil, err
	}
	s.server = gofakes3.New(s.backend, gofakes3.WithTimeSkewLimit(0)).Server()
	return s, nil
}

// Read returns an object.
func (s *Store) Read(key string) ([]byte, error) {
	o, err := s.backend.GetObject(s.Name, key, nil)
	if err != nil {
		return nil, fmt.Errorf("s3://%s/%s: %w", s.Name, key, err)
	}
	defer o.Contents.Close()
	return io.ReadAll(o.Contents)
}

// Keys lists the objects, sorted.
func (s *Store) Keys() ([]string, error) {
	list, err := s.backend.ListBucket(s.Name, nil, gofakes3.ListBucketPage{})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, o := range list.Contents {
		all = append(all, o.Key)
	}
	sort.Strings(all)
	return all, nil
}

// virtual is a host that names the bucket.
var virtual = regexp.MustCompile(`^(.+)\.s3[.-]`)

// ServeHTTP answers requests to the bucket in either form of address.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m := virtual.FindStringSubmatch(r.Host); m != nil {
		r.URL.Path = "/" + m[1] + r.URL.Path
	}
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && q.Has("location") && strings.HasPrefix(r.URL.Path, "/"+s.Name):
		w.Header().Set("Content-Type", "application/xml")
		// Empty is us-east-1.
		_, _ = io.WriteString(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>`)
		return
	case r.Method == http.MethodGet && q.Has("encryption"):
		fail(w, http.StatusNotFound, "ServerSideEncryptionConfigurationNotFoundError")
		return
	case r.Method == http.MethodGet && q.Has("policyStatus"):
		fail(w, http.StatusNotFound, "NoSuchBucketPolicy")
		return
	case r.Method == http.MethodGet && q.Has("acl"):
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, `<AccessControlPolicy><Owner><ID>awssim</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>awssim</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`)
		return
	}
	if err := unchunk(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.server.ServeHTTP(w, r)
}

func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%[1]s</Code><Message>%[1]s</Message></Error>", code)
}

// unchunk takes the framing off a body that is sent in chunks with a trailing
// checksum, as aws-sdk-go-v2 does over TLS: each chunk's size in hexadecimal, the
// chunk, and after a chunk of size 0 the trailers.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func unchunk(r *http.Request) error {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return nil
	}
	in := bufio.NewReader(r.Body)
	var body bytes.Buffer
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(line, ";", 2)[0]), 16, 32)
		if err != nil {
			return fmt.Errorf("size of a chunk: %w", err)
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&body, in, size); err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
		if _, err := in.Discard(2); err != nil {
			return fmt.Errorf("chunk: %w", err)
		}
	}
	r.Body = io.NopCloser(&body)
	r.ContentLength = int64(body.Len())
	for _, name := range []string{"X-Amz-Content-Sha256", "X-Amz-Decoded-Content-Length", "X-Amz-Trailer", "Content-Encoding"} {
		r.Header.Del(name)
	}
	r.Header.Set("Content-Length", strconv.Itoa(body.Len()))
	return nil
}
