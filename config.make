# The rule for the module, in the Makefile that ./configure has made.

ngx_rust_dir=`cd $ngx_addon_dir && pwd`

# --builddir= may be anywhere; cargo runs its build scripts in directories of their own.
case "$NGX_OBJS" in
    /*) ngx_rust_objs=$NGX_OBJS ;;
    *)  ngx_rust_objs="\$(CURDIR)/$NGX_OBJS" ;;
esac

# As auto/install does, which comes later.
case "$NGX_MODULES_PATH" in
    /*) ngx_rust_modules=$NGX_MODULES_PATH ;;
    *)  ngx_rust_modules=$NGX_PREFIX/$NGX_MODULES_PATH ;;
esac

# `make install` is often root's, who has no cargo: what is built already is not built again.
ngx_rust_deps=`find $ngx_rust_dir/src $ngx_rust_dir/build.rs $ngx_rust_dir/Cargo.toml $ngx_rust_dir/Cargo.lock \
                    -type f | sed -e 's/$/ \\\/'`

cat << END                                                    >> $NGX_MAKEFILE

modules:	$NGX_OBJS/ngx_http_rust_shared_cert_module.so

# No file that is gone meanwhile stops the build.
$ngx_rust_deps
:

$NGX_OBJS/ngx_http_rust_shared_cert_module.so:	\\
$ngx_rust_deps
		$NGX_OBJS/ngx_auto_config.h
	NGINX_SOURCE_DIR="\$(CURDIR)" NGINX_BUILD_DIR="$ngx_rust_objs" \\
	cargo build --release --locked --manifest-path $ngx_rust_dir/Cargo.toml \\
		--target-dir $NGX_OBJS/ngx_http_rust_shared_cert_module
	cp $NGX_OBJS/ngx_http_rust_shared_cert_module/release/libngx_http_rust_shared_cert_module.so \\
		\$@

install:	ngx_http_rust_shared_cert_module_install

ngx_http_rust_shared_cert_module_install:	$NGX_OBJS/ngx_http_rust_shared_cert_module.so
	mkdir -p '\$(DESTDIR)$ngx_rust_modules'
	cp $NGX_OBJS/ngx_http_rust_shared_cert_module.so '\$(DESTDIR)$ngx_rust_modules/.ngx_rust_new'
	mv '\$(DESTDIR)$ngx_rust_modules/.ngx_rust_new' \\
		'\$(DESTDIR)$ngx_rust_modules/ngx_http_rust_shared_cert_module.so'

END
