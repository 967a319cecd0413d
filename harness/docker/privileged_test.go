package docker

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

func TestExitProgram(t *testing.T) {
	for architecture, machine := range map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64} {
		program, err := exitProgram(architecture)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || len(f.Progs) != 1 || f.Entry != f.Progs[0].Vaddr+120 {
			t.Errorf("%s: %+v", architecture, f.FileHeader)
		}
	}
	native, err := exitProgram(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "exit")
	if err := os.WriteFile(path, native, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(path).Run(); err != nil {
		t.Errorf("run it: %v", err)
	}
}

func TestExitProgramOfAnUnknownArchitecture(t *testing.T) {
	_, err := exitProgram("riscv64")
	if want := `the engine runs on "riscv64"; supported are x86_64 and aarch64`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
