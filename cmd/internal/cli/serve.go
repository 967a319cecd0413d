package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/reports/serve"
)

func newServe(s Streams) *cobra.Command {
	var addr string
	var remote bool
	var hosts []string
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Show all runs in a browser: list, history, reports, comparison",
		Long: `serve shows the run directories below DIR to a browser on this machine: their
list, the history of each scenario, the report of each run, and any two side by
side. New runs appear when a page is loaded again. It only reads. Its address is
printed on standard output; the first interrupt ends it, with 0.`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := serve.New(args[0], serve.Options{Hosts: hosts, AnyAddress: remote, Tool: toolVersion(), Log: slog.Default()})
			if err != nil {
				return usage(err)
			}
			runs, err := server.Runs()
			if err != nil {
				return usage(err)
			}
			l, err := serve.Listen(cmd.Context(), addr, remote)
			switch {
			case errors.Is(err, serve.ErrRemote):
				return usage(fmt.Errorf("--addr: %w. Keep to %s and reach it through ssh -L, or say --allow-remote if everybody who can connect may read the runs", err, serve.DefaultAddr))
			case errors.As(err, new(*net.AddrError)):
				return usage(fmt.Errorf("--addr: %w", err))
			case err != nil:
				return failed(fmt.Errorf("--addr: %w; 127.0.0.1:0 takes any free port", err))
			}
			fmt.Fprintf(s.Out, "http://%s/\n", l.Addr())
			fmt.Fprintf(s.Err, "Serving the runs of %s (%d at present). Ctrl-C ends it.\n", args[0], runs)
			if err := server.Serve(cmd.Context(), l); err != nil {
				return failed(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "addr", serve.DefaultAddr, "host and port to listen on; port 0 is any free one")
	cmd.Flags().BoolVar(&remote, "allow-remote", false, "accept an --addr that other machines can reach; there is no password")
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "names besides localhost by which browsers may call the server, as behind a proxy")
	return cmd
}
