package nodeimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// layer writes the tar of an image layer. All times are the epoch's, so that
// equal contents are equal bytes, and equal layers of several images are
// stored once. The first error sticks and is returned by close.
type layer struct {
	w     *tar.Writer
	dirs  map[string]bool
	links map[[2]uint64]string // names already written by device and inode
	err   error
}

func newLayer(w io.Writer) *layer {
	return &layer{w: tar.NewWriter(w), dirs: map[string]bool{"": true, ".": true}, links: map[[2]uint64]string{}}
}

func (l *layer) header(h *tar.Header) {
	if l.err != nil {
		return
	}
	h.Name = strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	l.parents(h.Name)
	h.ModTime = time.Unix(0, 0)
	h.Format = tar.FormatPAX
	if l.err == nil {
		l.err = l.w.WriteHeader(h)
	}
}

func (l *layer) parents(name string) {
	if dir := path.Dir(name); !l.dirs[dir] {
		l.dir(dir, 0o755)
	}
}

func (l *layer) dir(name string, mode int64) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if l.dirs[name] {
		return
	}
	l.dirs[name] = true
	l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode})
}

func (l *layer) file(name string, mode int64, content []byte) {
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))})
	if l.err == nil {
		_, l.err = l.w.Write(content)
	}
}

func (l *layer) symlink(name, target string) {
	l.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

// hardlink makes name one more name of a file that was written before.
func (l *layer) hardlink(name, existing string) {
	l.header(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: strings.TrimPrefix(existing, "/"), Mode: 0o755})
}

// copyFile writes a file of this machine, owned by root.
func (l *layer) copyFile(name string, mode int64, source string) {
	if l.err != nil {
		return
	}
	f, err := os.Open(source)
	if err != nil {
		l.err = err
		return
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		l.err = err
		return
	}
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()})
	if l.err == nil {
		_, l.err = io.Copy(l.w, f)
	}
}

// copyRoot writes what is at name in the file system tree root, as it is.
// Devices and sockets are left out: the container runtime makes its own.
func (l *layer) copyRoot(root, name string) {
	if l.err != nil {
		return
	}
	source := filepath.Join(root, name)
	info, err := os.Lstat(source)
	if err != nil {
		l.err = err
		return
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		l.err = fmt.Errorf("%s: no owner and inode on this system", source)
		return
	}
	h := &tar.Header{Name: name, Uid: int(stat.Uid), Gid: int(stat.Gid), Mode: int64(stat.Mode & 0o7777)}
	switch info.Mode() & fs.ModeType {
	case fs.ModeDir:
		clean := strings.TrimPrefix(path.Clean("/"+name), "/")
		if l.dirs[clean] {
			return
		}
		l.dirs[clean] = true
		h.Typeflag = tar.TypeDir
		l.header(h)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, l.err = os.Readlink(source); l.err == nil {
			l.header(h)
		}
	case 0:
		inode := [2]uint64{stat.Dev, stat.Ino}
		if first, ok := l.links[inode]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			l.header(h)
			return
		}
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		l.header(h)
		if stat.Nlink > 1 {
			l.links[inode] = h.Name
		}
		l.content(source)
	}
}

func (l *layer) content(source string) {
	if l.err != nil {
		return
	}
	f, err := os.Open(source)
	if err != nil {
		l.err = err
		return
	}
	defer func() { _ = f.Close() }()
	_, l.err = io.Copy(l.w, f)
}

// tree writes the whole tree root, save for what skip names: paths relative to
// root without a leading slash, and everything below them.
func (l *layer) tree(root string, skip func(name string) bool) {
	if l.err != nil {
		return
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		switch {
		case name == ".":
			return nil
		case skip(name) && d.IsDir():
			return fs.SkipDir
		case skip(name):
			return nil
		}
		l.copyRoot(root, name)
		return l.err
	})
	if l.err == nil {
		l.err = err
	}
}

// closure writes the given files of root with all they need; see closure.
func (l *layer) closure(root string, paths ...string) {
	if l.err != nil {
		return
	}
	all, err := closure(root, paths...)
	if err != nil {
		l.err = err
		return
	}
	// Links to directories first, or a directory would be made in their place.
	slices.SortStableFunc(all, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	for _, p := range all {
		l.copyRoot(root, p)
	}
}

func (l *layer) close() error {
	if err := errors.Join(l.err, l.w.Close()); err != nil {
		return fmt.Errorf("write an image layer: %w", err)
	}
	return nil
}
