# The rule for the module, in the Makefile that ./configure has made.

ngx_rust_dir=`cd $ngx_addon_dir && pwd`

cat << END                                                    >> $NGX_MAKEFILE

modules:	$NGX_OBJS/ngx_http_rust_shared_cert_module.so

.PHONY:	ngx_http_rust_shared_cert_module
ngx_http_rust_shared_cert_module:
	NGINX_SOURCE_DIR="\$(CURDIR)" NGINX_BUILD_DIR="\$(CURDIR)/$NGX_OBJS" \\
	cargo build --release --locked --manifest-path $ngx_rust_dir/Cargo.toml \\
		--target-dir $NGX_OBJS/ngx_http_rust_shared_cert_module

$NGX_OBJS/ngx_http_rust_shared_cert_module.so:	ngx_http_rust_shared_cert_module
	cp $NGX_OBJS/ngx_http_rust_shared_cert_module/release/libngx_http_rust_shared_cert_module.so \\
		\$@

install:	ngx_http_rust_shared_cert_module_install

ngx_http_rust_shared_cert_module_install:	$NGX_OBJS/ngx_http_rust_shared_cert_module.so
	mkdir -p '\$(DESTDIR)$NGX_MODULES_PATH'
	cp $NGX_OBJS/ngx_http_rust_shared_cert_module.so '\$(DESTDIR)$NGX_MODULES_PATH/.ngx_rust_new'
	mv '\$(DESTDIR)$NGX_MODULES_PATH/.ngx_rust_new' \\
		'\$(DESTDIR)$NGX_MODULES_PATH/ngx_http_rust_shared_cert_module.so'

END
