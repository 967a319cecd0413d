package kops

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

func TestOnlyTheRunsOwnClusterIsTouched(t *testing.T) {
	for label, doc := range map[string]string{
		"production":  `{"metadata":{"name":"t.example.com"},"spec":{}}`,
		"another run": `{"metadata":{"name":"t.example.com"},"spec":{"cloudLabels":{"io.rehearse.run":"ffffff"}}}`,
	} {
		t.Run(label, func(t *testing.T) {
			b := newBed(t, nil)
			b.put("get-clusters.stdout", doc)
			for what, err := range map[string]error{
				"delete": b.d.Delete(b.ctx(), b.spec), "roll": b.d.RollControlPlane(b.ctx(), b.c, "v1.35.4", options), "workers": b.d.RollWorkers(b.ctx(), b.c, "v1.35.4", options),
			} {
				if !errors.Is(err, errNotOurs) || !strings.Contains(err.Error(), "so it is left alone") {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, c := range b.calls() {
				if c != "get clusters -o json" {
					t.Errorf("called %s", c)
				}
			}
			// A spec without an id owns nothing.
			s := b.spec
			s.RunID = ""
			if err := b.d.Delete(b.ctx(), s); !errors.Is(err, errNotOurs) {
				t.Errorf("without an id: %v", err)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	t.Run("all of it", func(t *testing.T) {
		b := newBed(t, nil)
		if err := b.d.Delete(b.ctx(), b.spec); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"get clusters -o json", "delete cluster --yes"}, b.calls()); diff != "" {
			t.Error(diff)
		}
		if b.d.dir != "" {
			t.Error("the credentials are still there")
		}
	})
	t.Run("gone already", func(t *testing.T) {
		b := newBed(t, nil)
		b.put("get-clusters.stderr", `Error: cluster not found "t.example.com"`)
		b.put("get-clusters.rc", "1")
		if err := b.d.Delete(b.ctx(), b.spec); err != nil {
			t.Error(err)
		}
	})
	t.Run("half", func(t *testing.T) {
		b := newBed(t, nil)
		preview, err := os.ReadFile("output/testdata/delete-preview.stdout")
		if err != nil {
			t.Fatal(err)
		}
		b.put("delete-cluster.dry.stdout", string(preview))
		b.put("delete-cluster.rc", "1")
		err = b.d.Delete(b.ctx(), b.spec)
		var left *cluster.RollError
		if !errors.As(err, &left) || len(left.Left) != 36 {
			t.Fatalf("got %v", err)
		}
		if got := left.Left[35]; got.Kind != "vpc" || got.Name != "vpc-1" || !strings.HasSuffix(got.Delete, "delete cluster --name t.example.com --state s3://kops-state --yes") {
			t.Errorf("got %+v", got)
		}
	})
}

func TestLeftovers(t *testing.T) {
	b := newBed(t, nil)
	b.put("get-clusters.stdout", `[`+ours+`,{"metadata":{"name":"production.example.com"},"spec":{}}]`)
	got, err := b.d.Leftovers(b.ctx())
	if err != nil || len(got) != 1 || got[0].Name != "t.example.com" || got[0].RunID != "ab12cd" || got[0].Created.Year() != 2026 {
		t.Errorf("%+v, %v", got, err)
	}
	b.put("get-clusters.stdout", "")
	b.put("get-clusters.stderr", "Error: no clusters found")
	b.put("get-clusters.rc", "1")
	if got, err := b.d.Leftovers(b.ctx()); err != nil || got != nil {
		t.Errorf("an empty store: %+v, %v", got, err)
	}
}
