package nodeimage

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// closure returns the paths, absolute within root and sorted, that the given
// files of root need to work: the files, the symbolic links on the way to
// them, and for executables the loader and the shared libraries they are
// linked with. Libraries that are opened at run time, such as the extensions
// of iptables, have to be given.
func closure(root string, paths ...string) ([]string, error) {
	c := closer{root: root, seen: map[string]bool{}}
	for _, p := range paths {
		if err := c.add(p); err != nil {
			return nil, err
		}
	}
	var all []string
	for p := range c.seen {
		all = append(all, p)
	}
	slices.Sort(all)
	return all, nil
}

type closer struct {
	root string
	seen map[string]bool // files and symbolic links
}

// add adds a file, or all files of a directory.
func (c closer) add(path string) error {
	real, err := c.resolve(path)
	if err != nil {
		return err
	}
	info, err := os.Lstat(filepath.Join(c.root, real))
	if err != nil {
		return fmt.Errorf("collect %s: %w", path, err)
	}
	if info.IsDir() {
		entries, err := os.ReadDir(filepath.Join(c.root, real))
		if err != nil {
			return fmt.Errorf("collect %s: %w", path, err)
		}
		for _, e := range entries {
			if err := c.add(filepath.Join(real, e.Name())); err != nil {
				return err
			}
		}
		return nil
	}
	if c.seen[real] {
		return nil
	}
	c.seen[real] = true
	return c.libraries(real)
}

// maxLinks bounds a chain of symbolic links, as the kernel does.
const maxLinks = 40

// resolve follows path within root to something that is no symbolic link, and
// remembers the links it went through.
func (c closer) resolve(path string) (string, error) {
	rest := strings.Split(strings.Trim(filepath.Clean("/"+path), "/"), "/")
	at := "/"
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(filepath.Join(c.root, next))
		if err != nil {
			return "", fmt.Errorf("collect %s: %w", path, err)
		}
		rest = rest[1:]
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("collect %s: too many symbolic links", path)
		}
		c.seen[next] = true
		target, err := os.Readlink(filepath.Join(c.root, next))
		if err != nil {
			return "", fmt.Errorf("collect %s: %w", path, err)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		// Joined lexically, which is right as long as `at` holds no link.
		target = filepath.Join(at, target)
		rest = append(strings.Split(strings.Trim(target, "/"), "/"), rest...)
		at = "/"
	}
	return at, nil
}

// libraries adds what the dynamic loader would load for an executable or a
// library; other files need nothing.
func (c closer) libraries(path string) error {
	f, err := elf.Open(filepath.Join(c.root, path))
	var notELF *elf.FormatError
	if errors.As(err, &notELF) || err != nil && err.Error() == "EOF" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the libraries of %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	for _, segment := range f.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(name, 0); err != nil {
			return fmt.Errorf("read the loader of %s: %w", path, err)
		}
		if err := c.add(strings.TrimRight(string(name), "\x00")); err != nil {
			return err
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read the libraries of %s: %w", path, err)
	}
	runPaths, err := f.DynString(elf.DT_RUNPATH)
	if err != nil {
		return fmt.Errorf("read the library path of %s: %w", path, err)
	}
	for _, library := range needed {
		found, err := c.find(library, f.Machine, runPaths)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := c.add(found); err != nil {
			return err
		}
	}
	return nil
}

// find looks a library up where Debian's loader does.
func (c closer) find(library string, machine elf.Machine, runPaths []string) (string, error) {
	triplet := map[elf.Machine]string{elf.EM_X86_64: "x86_64-linux-gnu", elf.EM_AARCH64: "aarch64-linux-gnu"}[machine]
	dirs := []string{"/lib/" + triplet, "/usr/lib/" + triplet, "/lib", "/usr/lib"}
	for _, p := range slices.Backward(runPaths) {
		dirs = slices.Concat(strings.Split(p, ":"), dirs)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, library)
		probe := closer{root: c.root, seen: map[string]bool{}}
		if _, err := probe.resolve(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s is not in %s", library, c.root)
}
