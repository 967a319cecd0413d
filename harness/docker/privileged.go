package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// Privileged starts and removes one privileged container, as kind does for
// each node, and returns why that failed. It needs no registry: the image is
// made on the spot of a program of a few instructions that ends with 0. ok is
// false with a nil error when the engine refused the container; err is for an
// engine that could not be asked.
func (c *Client) Privileged(ctx context.Context) (ok bool, refusal string, err error) {
	info, err := c.Info(ctx)
	if err != nil {
		return false, "", err
	}
	program, err := exitProgram(info.Architecture)
	if err != nil {
		return false, "", err
	}
	const image = "rehearse/exit:1"
	if _, found, err := c.Image(ctx, image); err != nil {
		return false, "", err
	} else if !found {
		layer, err := OneFile("exit", 0o755, program)
		if err != nil {
			return false, "", err
		}
		if err := c.Import(ctx, layer, image, `CMD ["/exit"]`); err != nil {
			return false, "", err
		}
	}
	if err := c.Run(ctx, "run", "--rm", "--privileged", "--network", "none", image); err != nil {
		if ctx.Err() != nil || IsUnavailable(err) {
			return false, "", fmt.Errorf("start a privileged container: %w", err)
		}
		return false, err.Error(), nil
	}
	return true, "", nil
}

// exitProgram returns a static Linux executable that does nothing but
// exit(0), for the architecture in uname's words. Layout: elf(5), one header,
// one loadable segment that maps the whole file.
func exitProgram(architecture string) ([]byte, error) {
	var machine uint16
	var code []byte
	switch architecture {
	case "x86_64", "amd64":
		machine = 62                                               // EM_X86_64
		code = []byte{0xb8, 0x3c, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05} // mov eax, 60; xor edi, edi; syscall
	case "aarch64", "arm64":
		machine = 183                                                          // EM_AARCH64
		code = []byte{0xa8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x8, 93; mov x0, 0; svc 0
	default:
		return nil, fmt.Errorf("the engine runs on %q; supported are x86_64 and aarch64", architecture)
	}
	const base, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(base + headers), // executable, entry point
		uint64(64), uint64(0), uint32(0), // program headers follow; no section headers
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), // PT_LOAD, readable and executable
		uint64(0), uint64(base), uint64(base),
		uint64(headers + len(code)), uint64(headers + len(code)), uint64(0x1000),
	} {
		if err := binary.Write(&b, binary.LittleEndian, field); err != nil {
			return nil, fmt.Errorf("write an ELF header: %w", err)
		}
	}
	b.Write(code)
	return b.Bytes(), nil
}

// OneFile is a tar of one file, in memory.
func OneFile(name string, mode int64, content []byte) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return nil, fmt.Errorf("write a tar header for %s: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("write a tar of %s: %w", name, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write a tar of %s: %w", name, err)
	}
	return &b, nil
}
