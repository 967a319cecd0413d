package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
)

func newImages(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Build and list the node images that kind needs",
		Long: `A rehearsal on kind needs a node image of each Kubernetes version it goes
through, and the image of a balancer. They are found in Docker, else pulled,
else built from source, which takes about half an hour on two cores, once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImagesBuild(s), newImagesList(s))
	return cmd
}

func newImagesBuild(s Streams) *cobra.Command {
	var kubernetes []string
	var output string
	var fromSource bool
	cmd := &cobra.Command{
		Use:     "build",
		Short:   "Make sure that the images for these Kubernetes versions exist",
		Example: "  rehearse images build --kubernetes v1.34.4 --kubernetes v1.35.4",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			if len(kubernetes) == 0 {
				return usage(errors.New("--kubernetes is missing; give it once for each version, for example --kubernetes v1.34.4"))
			}
			versions, err := imageVersions(kubernetes)
			if err != nil {
				return usage(err)
			}
			builder, err := nodeimage.New(nodeimage.Options{})
			if err != nil {
				return failed(err)
			}
			ensure := builder.Ensure
			if fromSource {
				ensure = builder.Build
			}
			images, err := ensure(cmd.Context(), versions...)
			if err != nil {
				return buildEnded(err)
			}
			balancer, err := builder.EnsureBalancer(cmd.Context())
			if err != nil {
				return buildEnded(err)
			}
			return writeImages(s.Out, output, append(images, balancer))
		},
	}
	cmd.Flags().StringArrayVar(&kubernetes, "kubernetes", nil, "Kubernetes version, repeated for each")
	cmd.Flags().BoolVar(&fromSource, "from-source", false, "neither use nor pull upstream's images, which lack flannel")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func buildEnded(err error) error {
	if errors.Is(err, errInterrupted) {
		return &exitError{ExitInterrupted, errors.New("interrupted; the same command goes on with the stage it was at")}
	}
	return failed(err)
}

func imageVersions(given []string) ([]cluster.Version, error) {
	versions := make([]cluster.Version, len(given))
	for i, text := range given {
		v, err := cluster.ParseVersion(text)
		if err != nil {
			return nil, fmt.Errorf("--kubernetes: %w", err)
		}
		versions[i] = v
	}
	if err := nodeimage.Supported(versions...); err != nil {
		return nil, fmt.Errorf("--kubernetes: %w", err)
	}
	return versions, nil
}

func newImagesList(s Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the node images in Docker",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			builder, err := nodeimage.New(nodeimage.Options{})
			if err != nil {
				return failed(err)
			}
			images, err := builder.List(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return writeImages(s.Out, output, images)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func writeImages(w io.Writer, output string, images []nodeimage.Image) error {
	if output == "json" {
		return writeJSON(w, map[string]any{"images": append([]nodeimage.Image{}, images...)})
	}
	if len(images) == 0 {
		_, err := fmt.Fprintln(w, "no node image in Docker; make one with: rehearse images build --kubernetes vX.Y.Z")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KUBERNETES\tIMAGE\tSOURCE\tSIZE\tRECIPE\tCREATED")
	for _, img := range images {
		created := "-"
		if img.Created.Year() > 1980 { // images made of reproducible layers carry no time
			created = img.Created.UTC().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.2f GB\t%s\t%s\n", dash(img.Version.String()), img.Ref, img.Source,
			float64(img.Size)/1e9, dash(img.RecipeKey), created)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, img := range images {
		for _, warning := range img.Warnings {
			if _, err := fmt.Fprintf(w, "%s: %s\n", img.Ref, warning); err != nil {
				return err
			}
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
