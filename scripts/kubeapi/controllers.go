package main

import (
	"context"
	"flag"
	"fmt"
	"os/signal"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/job"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/controller/ttlafterfinished"
)

const resync = 10 * time.Hour

// loop is one controller's main loop.
type loop func(context.Context)

// runControllers runs the controllers until the process is told to stop.
func runControllers(args []string) error {
	flags := flag.NewFlagSet("controllers", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that says how to reach the API server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make metadata client: %w", err)
	}
	return run(ctx, client, meta)
}

// run starts the informers and every loop, and returns when all have ended.
func run(ctx context.Context, client kubernetes.Interface, meta metadata.Interface) error {
	objects := informers.NewSharedInformerFactory(client, resync)
	metaObjects := metadatainformer.NewSharedInformerFactory(meta, resync)
	started := make(chan struct{})

	loops, err := workloads(ctx, client, objects)
	if err != nil {
		return err
	}
	more, err := housekeeping(ctx, client, meta, objects, metaObjects, started)
	if err != nil {
		return err
	}
	objects.Start(ctx.Done())
	metaObjects.Start(ctx.Done())
	close(started)

	var running sync.WaitGroup
	for _, l := range append(loops, more...) {
		running.Go(func() { l(ctx) })
	}
	running.Wait()
	return nil
}

// workloads are the controllers that turn Deployments and Jobs into pods.
func workloads(ctx context.Context, client kubernetes.Interface, f informers.SharedInformerFactory) ([]loop, error) {
	core, apps, batch := f.Core().V1(), f.Apps().V1(), f.Batch().V1()
	deployments, err := deployment.NewDeploymentController(ctx, apps.Deployments(), apps.ReplicaSets(), core.Pods(), client)
	if err != nil {
		return nil, fmt.Errorf("make deployment controller: %w", err)
	}
	replicas := replicaset.NewReplicaSetController(ctx, apps.ReplicaSets(), core.Pods(), client, replicaset.BurstReplicas)
	jobs, err := job.NewController(ctx, client, core.Pods(), batch.Jobs(), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make job controller: %w", err)
	}
	ttl := ttlafterfinished.New(ctx, batch.Jobs(), client)
	return []loop{
		func(ctx context.Context) { deployments.Run(ctx, 5) },
		func(ctx context.Context) { replicas.Run(ctx, 5) },
		func(ctx context.Context) { jobs.Run(ctx, 5) },
		func(ctx context.Context) { ttl.Run(ctx, 1) },
	}, nil
}

// housekeeping are the controllers that give namespaces their service account
// and remove what has lost its owner.
func housekeeping(ctx context.Context, client kubernetes.Interface, meta metadata.Interface,
	f informers.SharedInformerFactory, metaObjects metadatainformer.SharedInformerFactory, started <-chan struct{},
) ([]loop, error) {
	core := f.Core().V1()
	namespaces := namespace.NewNamespaceController(ctx, client, meta, client.Discovery().ServerPreferredNamespacedResources,
		core.Namespaces(), 5*time.Minute, corev1.FinalizerKubernetes)
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(),
		client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, fmt.Errorf("make service account controller: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	garbage, err := garbagecollector.NewGarbageCollector(ctx, client, meta, mapper, garbagecollector.DefaultIgnoredResources(),
		informerfactory.NewInformerFactory(f, metaObjects), started)
	if err != nil {
		return nil, fmt.Errorf("make garbage collector: %w", err)
	}
	return []loop{
		func(ctx context.Context) { namespaces.Run(ctx, 5) },
		func(ctx context.Context) { accounts.Run(ctx, 1) },
		func(ctx context.Context) { garbage.Run(ctx, 5, 30*time.Second) },
		func(ctx context.Context) { garbage.Sync(ctx, client.Discovery(), 30*time.Second) },
	}, nil
}
